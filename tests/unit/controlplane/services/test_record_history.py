"""What goes into SQL of what engines report: nothing twice, nothing lost that a process took with it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.clock import SystemClock
from controlplane.fleet.events import DesiredChanged, ReportReceived, SessionClosed, SummariesRestored
from controlplane.fleet.hardware import DeviceHealth, MemoryLedger, MemoryPortion, MemoryUse
from controlplane.fleet.history import DeviceSample, EngineSample, NodeSample, RecomputeSample
from controlplane.fleet.inside import RecomputeBill
from controlplane.fleet.observed import Ceiling, Device, EngineState
from controlplane.fleet.sources import Source
from controlplane.fleet.summaries import EngineSummary
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.runtime.tasks import TaskScope
from controlplane.services.query_history import EngineHistoryQuery
from controlplane.services.record_history import HistorySinks, RecordHistory
from controlplane.services.restore_fleet import restore_fleet
from tests.support.clock import SettableClock
from tests.support.fleet import THRESHOLDS, at, counted, desired, enrolled, opened, placed, report, reported
from tests.support.plane import Plane, plane
from tests.support.served import until

GCP, AWS = enrolled("gcp-1"), enrolled("aws-1")
WANTED = DesiredChanged(desired([GCP, AWS], [placed("llama@gcp-1"), placed("llama@aws-1")]))


class Recorded:
    """A store and its history, with rows in lists instead of writers."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.store = FleetStore(self.clock, THRESHOLDS)
        self.samples: list[EngineSample] = []
        self.summaries: list[EngineSummary] = []
        self.inflight = Inflight()
        self.devices: list[DeviceSample] = []
        self.nodes: list[NodeSample] = []
        self.bills: list[RecomputeSample] = []
        sinks = HistorySinks(
            self.samples.extend, self.devices.extend, self.nodes.extend, self.bills.extend, self.summaries.extend
        )
        self.history = RecordHistory(self.store, self.inflight, self.clock, sinks, lambda: 10.0)
        self.store.subscribe(self.history.on_change)
        self.store.apply_now(WANTED)

    def say(self, tokens: int, instance: str = "i1", state: EngineState = EngineState.READY) -> None:
        """gcp-1 reports its engine, a second later."""
        self.clock.advance(1)
        now = (self.clock.now() - at(0)).total_seconds()
        told = reported(counters=counted(tokens), instance_id=instance, state=state, seconds=now)
        self.store.apply_now(report("gcp-1", now, told))

    def totals(self) -> list[tuple[str, int | None]]:
        return [(sample.instance_id, sample.generation_tokens_total) for sample in self.samples]


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def test_one_row_for_each_engine_that_reported_since_its_last(recorded: Recorded) -> None:
    assert recorded.history.sample() == 0
    recorded.say(10)
    recorded.say(20)
    assert recorded.history.sample() == 1
    assert recorded.history.sample() == 0, "the same reading is not written twice"
    recorded.clock.advance(100)
    recorded.store.apply_now()
    assert recorded.history.sample() == 0, "a silent engine is not sampled"
    recorded.say(30)
    assert recorded.history.sample() == 1
    assert recorded.totals() == [("i1", 20), ("i1", 30)]


def test_a_row_says_all(recorded: Recorded) -> None:
    recorded.say(10)
    recorded.inflight.sent("r1", "llama@gcp-1", 0.0)
    recorded.history.sample()
    [row] = recorded.samples
    assert (row.engine_id, row.node, row.provider, row.region) == ("llama@gcp-1", "gcp-1", "gcp", "gcp-west")
    assert (row.model, row.state, row.sampled_at) == ("llama", "ready", recorded.clock.now())
    assert (row.kv_capacity_tokens, row.kv_used_tokens, row.running_count, row.waiting_count) == (1000, 100, 1, 0)
    assert (row.inflight_count, row.prompt_tokens_total, row.flops_total) == (1, 20, 100.0)
    assert row.bytes_total is None, "unknown is never zero"
    assert row.ttft_count_total is None


def test_the_last_reading_of_a_process_that_ended_is_kept(recorded: Recorded) -> None:
    recorded.say(10)
    recorded.history.sample()
    recorded.say(25)
    recorded.say(3, instance="i2")
    recorded.history.sample()
    assert recorded.totals() == [("i1", 10), ("i1", 25), ("i2", 3)]


def test_the_last_reading_of_an_engine_that_is_gone_is_kept(recorded: Recorded) -> None:
    recorded.say(25)
    recorded.clock.advance(1)
    recorded.store.apply_now(report("gcp-1", 2))
    assert recorded.totals() == [("i1", 25)]
    assert recorded.history.sample() == 0
    assert recorded.totals() == [("i1", 25)]


def test_what_was_sampled_is_not_written_again_when_it_ends(recorded: Recorded) -> None:
    recorded.say(25)
    recorded.history.sample()
    recorded.clock.advance(1)
    recorded.store.apply_now(report("gcp-1", 2))
    assert recorded.totals() == [("i1", 25)]


def test_the_engines_of_a_forgotten_node_end_under_its_provider(recorded: Recorded) -> None:
    recorded.say(25)
    recorded.store.apply_now(DesiredChanged(desired([AWS])))
    [row] = recorded.samples
    assert (row.node, row.provider, row.region) == ("gcp-1", "gcp", "gcp-west")


def test_a_process_without_an_identity_yet_has_no_history(recorded: Recorded) -> None:
    recorded.say(0, instance="", state=EngineState.STARTING)
    assert recorded.history.sample() == 0
    recorded.say(1)
    assert recorded.totals() == []


def test_summaries_are_written_when_an_engine_moves_and_with_its_samples(recorded: Recorded) -> None:
    recorded.say(1, state=EngineState.STARTING)
    recorded.say(2)
    recorded.say(3)
    recorded.say(4)
    assert [summary.state for summary in recorded.summaries] == [EngineState.STARTING, EngineState.READY]
    recorded.history.sample()
    assert recorded.summaries[-1].last_report_at == at(4)
    assert recorded.summaries[-1].as_report().endpoint == "10.0.0.1:8000"


def test_restored_engines_are_no_news(recorded: Recorded) -> None:
    summary = EngineSummary("llama@aws-1", "aws-1", "llama", 1, "i1", EngineState.READY, "10.0.0.2:8000", at(-5))
    recorded.store.apply_now(SummariesRestored((summary,)))
    assert recorded.history.sample() == 0
    recorded.store.apply_now(opened("aws-1", 0))
    assert (recorded.samples, recorded.summaries) == ([], [])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["work", "work", "work", "sample", "restart engine", "restart daemon"]), st.integers(0, 50)
    ),
    max_size=25,
)


async def _history(made: Plane) -> int:
    query = EngineHistoryQuery(at(0), at(100_000), bucket_seconds=10.0)
    return sum(row.generation_tokens or 0 for row in (await made.query.engines(query)).rows)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_deltas_add_up_whatever_restarts(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    directory, clock = tmp_path_factory.mktemp("plane"), SettableClock()
    made_tokens, in_process, instance = 0, 0, 1
    remaining = list(steps)
    first = True
    while first or remaining:
        async with plane(directory, clock) as daemon:
            if first:
                await daemon.enrol(GCP, placements=(placed("llama@gcp-1"),))
                first = False
            session = daemon.connect("gcp-1")
            while remaining:
                what, amount = remaining.pop(0)
                clock.advance(1)
                if what == "restart daemon":
                    break
                if what == "restart engine":
                    in_process, instance = 0, instance + 1
                elif what == "sample":
                    daemon.history.sample()
                    clock.advance(1)  # a row's time is part of its identity
                made_tokens += amount
                in_process += amount
                daemon.report(session, reported(counters=counted(in_process), instance_id=f"i{instance}"))
            clock.advance(1)
            daemon.history.sample()
            await daemon.written()
            total = await _history(daemon)
    assert total == made_tokens


async def test_a_daemon_that_starts_again_knows_where_engines_are(tmp_path: Path) -> None:
    clock = SettableClock()
    async with plane(tmp_path, clock) as first:
        await first.enrol(GCP, placements=(placed("llama@gcp-1"),))
        first.connect("gcp-1", reported())
        await first.written()
    async with plane(tmp_path, clock) as second:
        remembered = await restore_fleet(second.database, clock.now())
        [summary] = remembered.summaries
        assert (summary.engine_id, summary.endpoint, summary.state) == (
            "llama@gcp-1",
            "10.0.0.1:8000",
            EngineState.READY,
        )
        second.store.apply_now(SummariesRestored(remembered.summaries))
        assert set(second.store.snapshot.engines) == {"llama@gcp-1"}


def hardware(used: int = 40) -> tuple[tuple[Device, ...], tuple[DeviceHealth, ...], tuple[MemoryLedger, ...]]:
    devices = (Device("gpu-0", "H100", "cuda", 100), Device("gpu-1", "H100", "cuda", 100))
    health = (DeviceHealth("gpu-0", at(0), memory_used_bytes=used, power_watts=300.0, throttle_reasons=("power",)),)
    portions = (
        MemoryPortion(MemoryUse.WEIGHTS, 20, Source.MEASURED, "llama@gcp-1"),
        MemoryPortion(MemoryUse.FREE, 60, Source.MEASURED),
    )
    return devices, health, (MemoryLedger("gpu-0", at(0), 100, portions),)


def test_devices_are_sampled_with_the_engine_that_has_them(recorded: Recorded) -> None:
    devices, health, memory = hardware()
    told = reported(device_ids=("gpu-0",))
    recorded.store.apply_now(ReportReceived("gcp-1", (told,), at(0), at(0), devices, health, memory))
    recorded.clock.advance(4)
    recorded.history.sample()
    held, free = recorded.devices
    assert (held.device_id, held.engine_id, held.model, held.engine_ready) == ("gpu-0", "llama@gcp-1", "llama", True)
    assert (held.memory_total_bytes, held.memory_used_bytes, held.weights_bytes, held.free_bytes) == (100, 40, 20, 60)
    assert (held.kv_cache_bytes, held.power_watts, held.throttled, held.faults_count) == (None, 300.0, True, 0)
    assert (held.provider, held.device_kind, held.covers_seconds) == ("gcp", "H100", 4.0)
    assert (free.device_id, free.engine_id, free.engine_ready) == ("gpu-1", "", False)
    assert (free.memory_used_bytes, free.throttled, free.faults_count) == (None, None, None)
    assert recorded.samples[-1].devices_count == 1
    recorded.history.sample()
    assert len(recorded.devices) == 2, "a node that is silent tells nothing new of its devices"


def test_a_silent_node_is_history_too(recorded: Recorded) -> None:
    recorded.say(1)
    recorded.history.sample()
    by_name = {row.node: row for row in recorded.nodes}
    heard, never = by_name["gcp-1"], by_name["aws-1"]
    assert (heard.connected, heard.trust, heard.engines_count, heard.ready_engines_count) == (True, "fresh", 1, 1)
    assert (never.connected, never.trust, never.devices_count, never.engines_count) == (False, "stale", None, None)
    recorded.clock.advance(30)
    recorded.store.apply_now(SessionClosed("gcp-1", recorded.clock.now()))
    recorded.history.sample()
    silent = recorded.nodes[-2] if recorded.nodes[-2].node == "gcp-1" else recorded.nodes[-1]
    assert (silent.connected, silent.trust, silent.engines_count, silent.devices_count) == (False, "stale", None, 0)
    assert silent.covers_seconds == 20.0, "at most twice the interval"


def test_simulated_nodes_are_labelled(recorded: Recorded) -> None:
    recorded.store.apply_now(DesiredChanged(desired([enrolled("sim-1", simulated_by="sim"), GCP])))
    recorded.history.sample()
    assert {row.node: row.simulated for row in recorded.nodes} == {"sim-1": True, "gcp-1": False}


def test_what_samples_stand_for_adds_up_to_the_time_in_which_the_engine_was_heard(recorded: Recorded) -> None:
    recorded.say(1)
    for _ in range(3):
        recorded.clock.advance(9)
        recorded.say(2)
        recorded.history.sample()
    assert [row.covers_seconds for row in recorded.samples] == [10.0, 10.0, 10.0]
    recorded.say(3)
    recorded.clock.advance(3)
    recorded.say(1, instance="i2")
    recorded.clock.advance(5)
    recorded.history.sample()
    assert [row.instance_id for row in recorded.samples[3:]] == ["i1", "i2"]
    assert [row.covers_seconds for row in recorded.samples[3:]] == [5.0, 5.0]


def test_what_a_node_did_while_it_was_cut_off_its_own_readings_tell(recorded: Recorded) -> None:
    recorded.say(1)
    recorded.clock.advance(9)
    recorded.say(2)
    recorded.history.sample()
    recorded.store.apply_now(SessionClosed("gcp-1", recorded.clock.now()))
    recorded.clock.advance(60)
    recorded.say(3)
    recorded.clock.advance(3)
    recorded.history.sample()
    assert [row.covers_seconds for row in recorded.samples] == [10.0, 3.0]


def test_recompute_bills_once_a_minute_where_they_grew(recorded: Recorded) -> None:
    def bill(tokens: int, acme: int, instance: str = "i1") -> None:
        recorded.clock.advance(10)
        now = (recorded.clock.now() - at(0)).total_seconds()
        bills = (
            RecomputeBill("zeta", tokens, 1.0, None, Source.ASSUMED),
            RecomputeBill("acme", acme, float("nan"), 0.5, Source.MEASURED),
        )
        told = reported(recompute=bills, seconds=now, instance_id=instance)
        recorded.store.apply_now(report("gcp-1", now, told))
        recorded.history.sample()

    for number in range(13):
        bill(5, 10 + number)
    grown = [(row.tenant, row.tokens_total, row.flops_total) for row in recorded.bills]
    assert grown == [("zeta", 5, 1.0), ("acme", 10, None), ("acme", 16, None), ("acme", 22, None)]
    bill(5, 30)
    bill(1, 0, instance="i2")
    assert [(row.instance_id, row.tenant, row.tokens_total) for row in recorded.bills[4:]] == [("i1", "acme", 30)]
    for _ in range(6):
        bill(1, 0, instance="i2")
    assert [(row.instance_id, row.tenant, row.tokens_total) for row in recorded.bills[5:]] == [("i2", "zeta", 1)]


def test_a_summary_says_how_the_engine_is_now(recorded: Recorded) -> None:
    ceilings = (Ceiling("bfloat16", 1000.0, 10.0, Source.MEASURED),)
    devices = (Device("gpu-0", "H100", "cuda", 100, ceilings=ceilings),)
    for second, tokens in ((1, 10), (2, 30)):
        recorded.clock.advance(1)
        told = reported(seconds=second, counters=counted(tokens), dtype="bfloat16")
        recorded.store.apply_now(ReportReceived("gcp-1", (told,), at(second), at(second), devices))
    recorded.history.sample()
    summary = recorded.summaries[-1]
    assert (summary.provider, summary.region, summary.devices_count) == ("gcp", "gcp-west", 1)
    assert (summary.kv_used_tokens, summary.running_count, summary.waiting_count) == (100, 1, 0)
    assert (summary.generation_tokens_per_second, summary.batch_tokens_per_step) == (20.0, 3.0)
    assert (summary.ridge_flops_per_byte, summary.ttft_seconds_p50) == (100.0, None)


async def test_it_goes_on_sampling_whatever_fails_and_takes_a_new_interval() -> None:
    interval = 0.05
    recorded = Recorded()
    failures = ["one"]

    def nodes(rows: Sequence[NodeSample]) -> None:
        if failures:
            raise RuntimeError(failures.pop())
        recorded.nodes.extend(rows)

    sinks = HistorySinks(
        recorded.samples.extend, recorded.devices.extend, nodes, recorded.bills.extend, recorded.summaries.extend
    )
    history = RecordHistory(recorded.store, Inflight(), SystemClock(), sinks, lambda: interval)
    tasks = TaskScope()
    task = tasks.spawn("history", history.run())
    try:
        await until(lambda: len(recorded.nodes) >= 6, "samples of both nodes, again and again")
        assert {row.node for row in recorded.nodes} == {"gcp-1", "aws-1"}
        interval = 0.02
        seen = len(recorded.nodes)
        await until(lambda: len(recorded.nodes) >= seen + 4, "samples at the new interval")
        assert not task.done()
    finally:
        await tasks.close()
