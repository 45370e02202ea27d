"""Where memory is said to be, and what could still become KV."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.hardware.engine_memory import EngineOnDevices
from node_agent.hardware.ledger import build_ledgers, foreign_bytes_by_pid
from node_agent.hardware.readings import DeviceReading
from node_agent.session.facts import Device
from node_agent.session.hardware import DeviceHealth, MemoryLedger, MemoryUse
from node_agent.session.inside import ModelShape
from node_agent.session.values import Source
from tests.support.device_readings import GIB, NOW, MakeReading

WEIGHTS, KV, ACTIVATIONS, OTHER, FREE = MemoryUse
# 64 tokens are a MiB, so the blocks are 32 GiB.
SHAPE = ModelShape(weights_bytes=16 * GIB, kv_blocks=65_536, kv_block_tokens=32, kv_bytes_per_token=16_384.0)
ENGINE = EngineOnDevices("tiny@gpu-1", ("cuda:0",), (11, 12), SHAPE, request_tokens_mean=1_000.0)


def shown(ledger: MemoryLedger) -> dict[tuple[MemoryUse, str], tuple[int, Source]]:
    return {(part.use, part.engine_id): (part.bytes, part.source) for part in ledger.portions}


def test_everything_of_an_engine_on_one_device(reading: MakeReading) -> None:
    device = reading(memory_used_bytes=60 * GIB, memory_by_pid={11: 50 * GIB, 12: 2 * GIB, 99: 5 * GIB})
    [ledger] = build_ledgers([device], [ENGINE])
    assert (ledger.device_id, ledger.total_bytes, ledger.measured_at) == ("cuda:0", 100 * GIB, NOW)
    assert shown(ledger) == {
        (WEIGHTS, "tiny@gpu-1"): (16 * GIB, Source.MEASURED),
        (KV, "tiny@gpu-1"): (32 * GIB, Source.MEASURED),
        (ACTIVATIONS, "tiny@gpu-1"): (4 * GIB, Source.MEASURED),
        (OTHER, ""): (8 * GIB, Source.MEASURED),
        (FREE, ""): (40 * GIB, Source.MEASURED),
    }
    [room] = ledger.headroom
    # 8 of 100 GiB are kept back.
    assert (room.engine_id, room.bytes, room.tokens) == ("tiny@gpu-1", 32 * GIB, 32 * 65_536)
    assert room.requests == pytest.approx(2_097.152)


def test_an_engine_over_two_devices_has_half_on_each_and_the_fuller_one_counts(reading: MakeReading) -> None:
    engine = replace(ENGINE, device_ids=("cuda:0", "cuda:1"))
    one = reading(memory_used_bytes=30 * GIB, memory_by_pid={11: 30 * GIB})
    other = reading(device_id="cuda:1", memory_used_bytes=72 * GIB, memory_by_pid={12: 30 * GIB})
    ledgers = build_ledgers([one, other], [engine])
    for ledger in ledgers:
        assert shown(ledger)[WEIGHTS, "tiny@gpu-1"][0] == 8 * GIB
        assert shown(ledger)[KV, "tiny@gpu-1"][0] == 16 * GIB
    assert [ledger.headroom[0].bytes for ledger in ledgers] == [62 * GIB, 20 * GIB]
    assert {ledger.headroom[0].tokens for ledger in ledgers} == {40 * 65_536}


def test_without_the_engines_word_the_files_count_and_what_is_not_known_is_in_no_portion(reading: MakeReading) -> None:
    engine = replace(ENGINE, shape=None, weights_on_disk_bytes=16 * GIB)
    device = reading(memory_used_bytes=60 * GIB, memory_by_pid={11: 52 * GIB})
    [ledger] = build_ledgers([device], [engine])
    assert shown(ledger) == {
        (WEIGHTS, "tiny@gpu-1"): (16 * GIB, Source.CONFIGURED),
        (OTHER, ""): (8 * GIB, Source.MEASURED),
        (FREE, ""): (40 * GIB, Source.MEASURED),
    }
    assert (ledger.headroom[0].bytes, ledger.headroom[0].tokens, ledger.headroom[0].requests) == (32 * GIB, None, None)


@pytest.mark.parametrize("held", [None, {99: 52 * GIB}])
def test_where_processes_are_not_told_others_memory_is_not_known(
    reading: MakeReading, held: dict[int, int] | None
) -> None:
    [ledger] = build_ledgers([reading(memory_used_bytes=60 * GIB, memory_by_pid=held)], [ENGINE])
    assert [use for use, _ in shown(ledger)] == [WEIGHTS, KV, FREE]
    assert shown(ledger)[FREE, ""][0] == 40 * GIB


def test_kv_that_was_never_touched_is_not_there_yet(reading: MakeReading) -> None:
    [ledger] = build_ledgers([reading(memory_used_bytes=20 * GIB, memory_by_pid={11: 18 * GIB})], [ENGINE])
    assert [part.bytes // GIB for part in ledger.portions] == [16, 2, 0, 2, 80]


def test_kv_by_the_capacity_that_the_engine_reports(reading: MakeReading) -> None:
    shape = ModelShape(weights_bytes=GIB, kv_bytes_per_token=16_384.0)
    engine = replace(ENGINE, shape=shape, kv_capacity_tokens=65_536)
    [ledger] = build_ledgers([reading(memory_used_bytes=9 * GIB, memory_by_pid={11: 9 * GIB})], [engine])
    assert shown(ledger)[KV, "tiny@gpu-1"][0] == GIB


def test_devices_that_do_not_tell(reading: MakeReading) -> None:
    unknown = reading(total_bytes=None, memory_used_bytes=None)
    assert build_ledgers([unknown], [ENGINE]) == (MemoryLedger("cuda:0", NOW),)
    assert build_ledgers([reading(lost="gone"), reading(partitioned=True)], [ENGINE]) == ()


def test_headroom_is_never_less_than_nothing(reading: MakeReading) -> None:
    [ledger] = build_ledgers([reading(memory_used_bytes=95 * GIB, memory_by_pid={11: 95 * GIB})], [ENGINE])
    assert (ledger.headroom[0].bytes, ledger.headroom[0].tokens, ledger.headroom[0].requests) == (0, 0, 0.0)


def test_strangers(reading: MakeReading) -> None:
    held = {11: 5 * GIB, 99: GIB}
    assert foreign_bytes_by_pid(reading(memory_by_pid=held), [ENGINE]) == {99: GIB}
    assert foreign_bytes_by_pid(reading(memory_by_pid=held), []) == held
    assert foreign_bytes_by_pid(reading(memory_by_pid={99: GIB}), [ENGINE]) is None  # ours cannot be recognised
    assert foreign_bytes_by_pid(reading(memory_by_pid=None), []) is None
    assert foreign_bytes_by_pid(reading(memory_by_pid=held, partitioned=True), []) is None
    cpu = reading(memory_by_pid=held, device=Device("cpu:0", "a CPU", "cpu", 8 * GIB))
    assert foreign_bytes_by_pid(cpu, []) is None


SIZES = st.integers(0, 200 * GIB)
MAYBE = st.none() | SIZES | st.just(-1)
SHAPES = st.none() | st.builds(
    ModelShape,
    weights_bytes=MAYBE,
    kv_blocks=st.none() | st.integers(-1, 10**6),
    kv_block_tokens=st.none() | st.sampled_from([16, 32]),
    kv_bytes_per_token=st.none() | st.floats(),
)
ENGINES = st.lists(
    st.builds(
        EngineOnDevices,
        engine_id=st.sampled_from("abc"),
        device_ids=st.sampled_from([("cuda:0",), ("cuda:0", "cuda:1"), ("cuda:1",)]),
        pids=st.lists(st.integers(1, 5), unique=True).map(tuple),
        shape=SHAPES,
        weights_on_disk_bytes=MAYBE,
        kv_capacity_tokens=st.none() | st.integers(0, 10**7),
        request_tokens_mean=st.none() | st.floats(1, 1e6),
    ),
    max_size=3,
    unique_by=lambda engine: engine.engine_id,
)


@given(
    total=st.integers(1, 200 * GIB),
    used=SIZES,
    held=st.none() | st.dictionaries(st.integers(1, 5), SIZES),
    engines=ENGINES,
)
def test_portions_are_never_negative_and_add_up(
    total: int, used: int, held: dict[int, int] | None, engines: list[EngineOnDevices]
) -> None:
    used = min(used, total)
    device = Device("cuda:0", "GPU", "cuda", memory_bytes=total)
    health = DeviceHealth("cuda:0", NOW, memory_used_bytes=used)
    [ledger] = build_ledgers([DeviceReading(device, health, memory_by_pid=held)], engines)
    assert all(portion.bytes >= 0 for portion in ledger.portions)
    portioned = sum(portion.bytes for portion in ledger.portions)
    assert portioned <= total
    uses = {(portion.use, portion.engine_id) for portion in ledger.portions}
    here = [engine for engine in engines if "cuda:0" in engine.device_ids]
    if (OTHER, "") in uses and all((ACTIVATIONS, engine.engine_id) in uses for engine in here):
        assert portioned == total
    free = next(portion.bytes for portion in ledger.portions if portion.use is FREE)
    assert free <= total - used
    assert all(0 <= room.bytes <= free for room in ledger.headroom)
    assert all(room.tokens is None or room.tokens >= 0 for room in ledger.headroom)
