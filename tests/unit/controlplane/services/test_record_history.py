"""What goes into SQL of what engines report: nothing twice, nothing lost that a process took with it."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.fleet.events import DesiredChanged, SummariesRestored
from controlplane.fleet.history import EngineSample
from controlplane.fleet.observed import EngineState
from controlplane.fleet.summaries import EngineSummary
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.services.query_history import EngineHistoryQuery
from controlplane.services.record_history import RecordHistory
from controlplane.services.restore_fleet import restore_fleet
from tests.support.clock import SettableClock
from tests.support.fleet import THRESHOLDS, at, counted, desired, enrolled, opened, placed, report, reported
from tests.support.plane import Plane, plane

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
        self.history = RecordHistory(self.store, self.inflight, self.clock, self.samples.extend, self.summaries.extend)
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
