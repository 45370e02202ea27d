"""Sums over engines that only grow."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.inside import EngineInside, InsideState, StepTotals
from controlplane.fleet.observed import EngineCounters, EngineReport, EngineState
from controlplane.fleet.snapshot import EngineObserved
from controlplane.runtime.engine_totals import COUNTERS, EngineTotals, Group
from tests.support.clock import START
from tests.support.fleet import Timeline, desired, enrolled, opened, placed, report, reported

GROUP = Group("llama", "gcp", "gcp-west")


def observed(tokens: int | None, instance: str = "i1", state: EngineState = EngineState.READY) -> EngineObserved:
    return of(reported(instance_id=instance, state=state, counters=EngineCounters(generation_tokens=tokens)))


def of(told: EngineReport) -> EngineObserved:
    return EngineObserved(told, "gcp-1", START)


def taken(totals: EngineTotals, *engines: EngineObserved, counter: str = "generation_tokens") -> float | None:
    told = totals.take({engine.engine_id: (GROUP, engine) for engine in engines})
    return told[GROUP].values[COUNTERS.index(counter)]


def test_what_an_engine_counted_before_it_was_heard_of_is_left_out() -> None:
    totals = EngineTotals()
    assert taken(totals, observed(1000)) == 0
    assert taken(totals, observed(1010)) == 10


def test_a_process_that_takes_anothers_place_counts_from_zero() -> None:
    totals = EngineTotals()
    taken(totals, observed(1000))
    taken(totals, observed(1010))
    assert taken(totals, observed(7, instance="i2")) == 17
    assert totals.take({"llama@gcp-1": (GROUP, observed(7, instance="i2"))})[GROUP].restarts == 1


def test_a_process_that_begins_while_we_watch_is_counted_whole() -> None:
    totals = EngineTotals()
    assert taken(totals, observed(None, state=EngineState.STARTING)) is None
    assert taken(totals, observed(5)) == 5


def test_what_nobody_tells_is_not_zero() -> None:
    assert taken(EngineTotals(), observed(5), counter="flops") is None


def test_a_figure_that_is_not_told_for_a_moment_is_not_counted_twice() -> None:
    totals = EngineTotals()
    for tokens in (100, None, 110, None, 120):
        grown = taken(totals, observed(tokens))
    assert grown == 20


def test_an_engine_that_is_gone_takes_nothing_with_it() -> None:
    totals = EngineTotals()
    taken(totals, observed(0))
    taken(totals, observed(50))
    told = totals.take({})
    assert told[GROUP].values[COUNTERS.index("generation_tokens")] == 50


def test_the_plug_in_tells_flops_where_metrics_do_not() -> None:
    totals = EngineTotals()

    def engine(flops: float | None, inside: float) -> EngineObserved:
        steps = StepTotals(flops=inside)
        return of(reported(counters=EngineCounters(flops=flops), inside=EngineInside(InsideState.ACTIVE, steps=steps)))

    taken(totals, engine(None, 10.0))
    assert taken(totals, engine(None, 15.0), counter="flops") == 5.0
    both = EngineTotals()
    taken(both, engine(100.0, 10.0))
    taken(both, engine(103.0, 99.0))
    taken(both, engine(None, 200.0))
    assert taken(both, engine(104.0, 300.0), counter="flops") == 4.0


@given(st.lists(st.tuples(st.sampled_from(["i1", "i2", "i3"]), st.none() | st.integers(0, 100)), min_size=1))
def test_whatever_an_engine_tells_its_sum_never_falls(told: list[tuple[str, int | None]]) -> None:
    totals, before = EngineTotals(), 0.0
    for instance, tokens in told:
        now = taken(totals, observed(tokens, instance=instance)) or 0.0
        assert now >= before
        before = now


def test_the_last_reading_before_an_end_is_taken_without_anybody_asking() -> None:
    """Between two scrapes an engine starts, works, restarts and goes."""
    totals = EngineTotals()
    fleet = Timeline(desired([enrolled()], [placed()]))

    def step(seconds: float, *engines: EngineReport) -> None:
        before = fleet.snapshot
        fleet.told.clear()
        fleet.step(seconds, report("gcp-1", seconds, *engines))
        totals.on_change(before, fleet.snapshot, tuple(fleet.told))

    fleet.step(0, opened("gcp-1", 0))
    starting = reported(state=EngineState.STARTING)
    step(1, starting)
    step(2, replace(starting, state=EngineState.READY, counters=EngineCounters(generation_tokens=3)))
    step(3, replace(starting, state=EngineState.READY, counters=EngineCounters(generation_tokens=9)))
    step(4, replace(starting, instance_id="i2"))
    step(5, replace(starting, instance_id="i2", state=EngineState.READY, counters=EngineCounters(generation_tokens=2)))
    totals.lend()
    step(6)
    totals.give_back()
    told = totals.take({})[GROUP]
    assert (told.values[COUNTERS.index("generation_tokens")], told.restarts) == (11, 1)
