"""Where a device's memory is: weights, KV cache, activations, others, free; and what could still become KV. Pure.

Called by `monitor` with one reading of all devices and the engines on them.

- An engine's part is what its processes hold there, as the driver (or the kernel) tells: measured. Of that come first
  its weights, then its KV cache; the rest are activations, graphs and the runtime. An engine over several devices has
  an equal part of weights and KV on each.
- Weights and KV cache are measured when the engine itself told them, and configured when only the model's files did.
- Other is what is used beside our engines, the driver's own part included; free is the rest, so that all add up.
- Where it is not told what each process holds (a container that does not see the host's processes), an engine's
  activations cannot be told from others' memory: they are in no portion, and the portions add up to less. So they do
  while weights or KV cache of an engine are not known.
- Weights before KV: where pages are taken only when touched (a CPU), KV that was never used may not be there yet. It is
  told as if it were, out of what the engine's processes hold.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from node_agent.hardware.engine_memory import EngineOnDevices
from node_agent.hardware.readings import DeviceReading
from node_agent.session.hardware import KvHeadroom, MemoryLedger, MemoryPortion, MemoryUse
from node_agent.session.values import Source

# Of a device's memory, never counted as headroom: activations at the largest batch come on top of KV. It is what vLLM
# leaves by default (--gpu-memory-utilization 0.92).
RESERVE_RATIO = 0.08


@dataclass(frozen=True, slots=True)
class _Part:
    """What an engine takes of one device. None is not known."""

    engine: EngineOnDevices
    held_bytes: int | None
    weights_bytes: int | None
    weights_source: Source
    kv_bytes: int | None


def build_ledgers(readings: Sequence[DeviceReading], engines: Sequence[EngineOnDevices]) -> tuple[MemoryLedger, ...]:
    """One for each device whose memory is told. An engine's headroom in tokens is that of its fullest device."""
    ledgers = tuple(
        _ledger(reading, [engine for engine in engines if reading.device_id in engine.device_ids])
        for reading in readings
        if not reading.lost and not reading.partitioned
    )
    fewest: dict[str, int] = {}
    for room in (room for ledger in ledgers for room in ledger.headroom if room.tokens is not None):
        fewest[room.engine_id] = min(room.tokens or 0, fewest.get(room.engine_id, room.tokens or 0))
    means = {engine.engine_id: engine.request_tokens_mean for engine in engines}
    return tuple(
        replace(ledger, headroom=tuple(_in_requests(room, fewest, means) for room in ledger.headroom))
        for ledger in ledgers
    )


def foreign_bytes_by_pid(reading: DeviceReading, engines: Sequence[EngineOnDevices]) -> Mapping[int, int] | None:
    """What processes hold that are no engine of ours. None where that is not told, or our own cannot be recognised."""
    if reading.device.family == "cpu" or reading.partitioned or reading.memory_by_pid is None:
        return None  # every machine has other processes
    held = reading.memory_by_pid
    for engine in engines:
        if reading.device_id in engine.device_ids and not held.keys() & set(engine.pids):
            return None  # it holds nothing yet, or its processes go by other numbers here
    ours = {pid for engine in engines for pid in engine.pids}
    return {pid: size for pid, size in held.items() if pid not in ours}


def _ledger(reading: DeviceReading, engines: Sequence[EngineOnDevices]) -> MemoryLedger:
    total, used = reading.device.memory_bytes, reading.health.memory_used_bytes
    ledger = MemoryLedger(reading.device_id, reading.health.measured_at, total)
    if total is None or used is None:
        return ledger
    parts = [_part(reading, engine) for engine in engines]
    left, used_left = total, used
    portions: list[MemoryPortion] = []
    for part in parts:
        # What it holds is measured, and may be a little more than what is in use: a file's pages count as free.
        bound = min(used_left, left) if part.held_bytes is None else min(part.held_bytes, left)
        of_engine = _portions(part, bound)
        taken = sum(portion.bytes for portion in of_engine) if part.held_bytes is None else bound
        left, used_left = left - taken, max(0, used_left - taken)
        portions += of_engine
    free = max(0, min(total - used, left))
    if all(part.held_bytes is not None for part in parts):
        portions.append(MemoryPortion(MemoryUse.OTHER, left - free, Source.MEASURED))
    portions.append(MemoryPortion(MemoryUse.FREE, free, Source.MEASURED))
    headroom = max(0, free - round(total * RESERVE_RATIO))
    return replace(ledger, portions=tuple(portions), headroom=tuple(_headroom(engine, headroom) for engine in engines))


def _part(reading: DeviceReading, engine: EngineOnDevices) -> _Part:
    share = len(set(engine.device_ids))
    told = None if engine.shape is None else _size(engine.shape.weights_bytes)
    weights = _size(engine.weights_on_disk_bytes) if told is None else told
    kv_tokens = _kv_tokens(engine)
    per_token = _bytes_per_token(engine)
    held = reading.memory_by_pid
    mine = None if held is None else [held[pid] for pid in engine.pids if pid in held]
    return _Part(
        engine=engine,
        held_bytes=sum(mine) if mine else None,
        weights_bytes=None if weights is None else weights // share,
        weights_source=Source.CONFIGURED if told is None else Source.MEASURED,
        kv_bytes=None if kv_tokens is None or per_token is None else int(kv_tokens * per_token / share),
    )


def _kv_tokens(engine: EngineOnDevices) -> int | None:
    shape = engine.shape
    if shape is not None and shape.kv_blocks is not None and shape.kv_block_tokens is not None:
        return _size(shape.kv_blocks * shape.kv_block_tokens)
    return _size(engine.kv_capacity_tokens)


def _bytes_per_token(engine: EngineOnDevices) -> float | None:
    """What no model can have is as good as not told."""
    told = None if engine.shape is None else engine.shape.kv_bytes_per_token
    return told if told is not None and 1.0 <= told < math.inf else None


def _size(told: int | None) -> int | None:
    return told if told is not None and told >= 0 else None


def _portions(part: _Part, bound: int) -> list[MemoryPortion]:
    """Never more than the bound in all."""
    rest, found = bound, []
    for use, size, source in (
        (MemoryUse.WEIGHTS, part.weights_bytes, part.weights_source),
        (MemoryUse.KV_CACHE, part.kv_bytes, Source.MEASURED),
    ):
        if size is not None:
            found.append(MemoryPortion(use, min(size, rest), source, part.engine.engine_id))
            rest -= min(size, rest)
    if part.held_bytes is not None and part.weights_bytes is not None and part.kv_bytes is not None:
        # A difference is as good as what it was made of.
        found.append(MemoryPortion(MemoryUse.ACTIVATIONS, rest, part.weights_source, part.engine.engine_id))
    return found


def _headroom(engine: EngineOnDevices, free_bytes: int) -> KvHeadroom:
    per_token = _bytes_per_token(engine)
    share = len(set(engine.device_ids))
    tokens = None if per_token is None else int(free_bytes * share / per_token)
    return KvHeadroom(engine.engine_id, free_bytes, tokens, requests=None, source=Source.MEASURED)


def _in_requests(room: KvHeadroom, fewest: Mapping[str, int], means: Mapping[str, float | None]) -> KvHeadroom:
    tokens, mean = fewest.get(room.engine_id), means.get(room.engine_id)
    return replace(room, tokens=tokens, requests=None if tokens is None or not mean else tokens / mean)
