"""An engine as the ledger needs it: where it runs, its processes, what its model takes, how long its requests are. Pure.

Made by `monitor` from the supervisor's statuses. `RequestLengths` remembers the counters of some minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from node_agent.hardware.readings import DeviceReading
from node_agent.session.facts import EngineCounters, EngineStatus
from node_agent.session.inside import ModelShape

# How far back "recent" goes, in readings; and how few requests say nothing.
_READINGS_KEPT = 60
_REQUESTS_MIN = 10


@dataclass(frozen=True, slots=True)
class EngineOnDevices:
    engine_id: str
    device_ids: tuple[str, ...]  # empty: it was told none, and takes what it finds; see `placed`
    pids: tuple[int, ...]  # all of its processes
    shape: ModelShape | None = None  # as the engine itself told
    weights_on_disk_bytes: int | None = None  # what the model's files say; counts where the engine told nothing
    kv_capacity_tokens: int | None = None
    request_tokens_mean: float | None = None  # prompt and answer of a recent request


def engine_on_devices(
    status: EngineStatus,
    pids: Sequence[int],
    *,
    weights_on_disk_bytes: int | None = None,
    request_tokens_mean: float | None = None,
) -> EngineOnDevices:
    return EngineOnDevices(
        engine_id=status.engine_id,
        device_ids=status.device_ids,
        pids=tuple(pids),
        shape=status.shape,
        weights_on_disk_bytes=weights_on_disk_bytes,
        kv_capacity_tokens=status.gauges.kv_capacity_tokens,
        request_tokens_mean=request_tokens_mean,
    )


def placed(engine: EngineOnDevices, readings: Sequence[DeviceReading]) -> EngineOnDevices:
    """With the devices that it really is on: those where its processes hold memory, of those that it may use.

    Before it holds any, or where that is not told: all that it may use. If it was told none of several, nobody can say
    how it is spread, so it is on all of them with an unknown part.
    """
    may_use = engine.device_ids or tuple(reading.device_id for reading in readings)
    pids = set(engine.pids)
    holds = tuple(
        reading.device_id
        for reading in readings
        if reading.device_id in may_use and any((reading.memory_by_pid or {}).get(pid) for pid in pids)
    )
    if holds or engine.device_ids or len(may_use) == 1:
        return replace(engine, device_ids=holds or may_use)
    return replace(engine, device_ids=may_use, shape=None, weights_on_disk_bytes=None, kv_capacity_tokens=None)


@dataclass(frozen=True, slots=True)
class _Reading:
    tokens: int
    requests: int


class RequestLengths:
    """The mean length of an engine's recent requests, out of cumulative counters.

    Tokens of requests that still run are counted with those that have ended: over many requests that evens out.
    """

    def __init__(self) -> None:
        self._instance_id = ""
        self._readings: list[_Reading] = []

    def note(self, instance_id: str, counters: EngineCounters) -> float | None:
        """With the newest reading; None until enough requests have ended."""
        if instance_id != self._instance_id:
            self._instance_id, self._readings = instance_id, []
        told = (counters.prompt_tokens, counters.generation_tokens, counters.requests_finished)
        prompt, generated, finished = told
        if prompt is None or generated is None or finished is None:
            return None
        now = _Reading(prompt + generated, finished)
        if self._readings and (now.tokens < self._readings[-1].tokens or now.requests < self._readings[-1].requests):
            self._readings = []
        self._readings = [*self._readings, now][-_READINGS_KEPT:]
        for before in (self._readings[0], _Reading(0, 0)):  # lately, or else in the engine's whole life
            requests, tokens = now.requests - before.requests, now.tokens - before.tokens
            if requests >= _REQUESTS_MIN and tokens > 0:
                return tokens / requests
        return None
