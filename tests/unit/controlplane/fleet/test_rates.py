"""What is derived from two readings: never negative, never wrong when it could be unknown."""

import math
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.inside import StepTotals
from controlplane.fleet.observed import EngineCounters, FigureSource, Histogram, WorkingPoint
from controlplane.fleet.rates import StepsWindow, histogram_delta, quantile, working_point

BOUNDS = st.lists(st.floats(min_value=0.001, max_value=1e6), min_size=1, max_size=12, unique=True).map(
    lambda values: tuple(sorted(values))
)


@st.composite
def histograms(draw: st.DrawFn, bounds: tuple[float, ...] | None = None) -> Histogram:
    upper = draw(BOUNDS) if bounds is None else bounds
    size = len(upper) + 1
    counts = draw(st.lists(st.integers(min_value=0, max_value=10**9), min_size=size, max_size=size))
    return Histogram(upper, tuple(counts), draw(st.floats(min_value=0, max_value=1e9)))


@given(histograms(), st.lists(st.floats(min_value=0, max_value=1), min_size=2, max_size=6))
def test_quantiles_grow_with_q_and_stay_within_the_bounds(histogram: Histogram, ranks: list[float]) -> None:
    found = [quantile(histogram, q) for q in sorted(ranks)]
    if sum(histogram.counts) == 0:
        assert found == [None] * len(found)
        return
    values = [value for value in found if value is not None]
    assert len(values) == len(found)
    assert all(a <= b or math.isclose(a, b) for a, b in pairwise(values))
    assert all(0 <= value <= histogram.upper_bounds[-1] * (1 + 1e-9) for value in values)


def test_a_quantile_lies_in_the_bucket_that_holds_it() -> None:
    histogram = Histogram((1.0, 2.0, 4.0), (10, 10, 0, 0), 15.0)
    assert quantile(histogram, 0.5) == pytest.approx(1.0)
    assert quantile(histogram, 0.75) == pytest.approx(1.5)
    assert quantile(histogram, 1.0) == pytest.approx(2.0)
    assert quantile(Histogram((1.0, 2.0), (0, 0, 5), 50.0), 0.5) == 2.0  # beyond all bounds: at least the last
    assert quantile(None, 0.5) is None


@given(BOUNDS.flatmap(lambda bounds: st.tuples(histograms(bounds), histograms(bounds))))
def test_a_delta_is_never_negative_and_adds_up(pair: tuple[Histogram, Histogram]) -> None:
    old, added = pair
    new = Histogram(
        old.upper_bounds, tuple(a + b for a, b in zip(old.counts, added.counts, strict=True)), old.sum + added.sum
    )
    delta = histogram_delta(new, old)
    assert delta is not None
    assert delta.counts == added.counts
    backwards = histogram_delta(old, new)
    assert backwards is None or not any(added.counts)


def test_histograms_that_cannot_be_compared_have_no_delta() -> None:
    one = Histogram((1.0,), (1, 1), 2.0)
    assert histogram_delta(None, one) is None
    assert histogram_delta(one, None) == one
    assert histogram_delta(one, Histogram((2.0,), (0, 0), 0.0)) is None
    assert histogram_delta(one, Histogram((1.0,), (0, 0, 0), 0.0)) is None


COUNTS = st.none() | st.integers(min_value=0, max_value=2**53)
AMOUNTS = st.none() | st.floats(min_value=0, max_value=1e18)


@st.composite
def counters(draw: st.DrawFn) -> EngineCounters:
    values: dict[str, Any] = {
        field.name: draw(AMOUNTS if field.name in {"flops", "bytes"} else COUNTS)
        for field in fields(EngineCounters)
        if not field.name.endswith("_seconds")
    }
    shape = (0.1, 1.0)
    return EngineCounters(
        **values,
        ttft_seconds=draw(st.none() | histograms(shape)),
        inter_token_seconds=draw(st.none() | histograms(shape)),
    )


@given(counters(), counters(), st.floats(min_value=0.001, max_value=1e4))
def test_whatever_was_read_no_rate_is_negative(new: EngineCounters, old: EngineCounters, window: float) -> None:
    point = working_point(new, old, window)
    if point is not None:
        assert _negative(point) == []


def _negative(point: WorkingPoint) -> list[str]:
    values = {field.name: getattr(point, field.name) for field in fields(point) if field.name != "source"}
    return [name for name, value in values.items() if value is not None and value < 0]


@st.composite
def totals(draw: st.DrawFn) -> StepTotals:
    amounts = {"flops", "read_bytes", "write_bytes", "busy_seconds", "prefill_flops", "prefill_seconds"}
    whole, real = st.integers(0, 2**53), st.floats(0, 1e18)
    values: dict[str, Any] = {each.name: draw(real if each.name in amounts else whole) for each in fields(StepTotals)}
    return StepTotals(**values)


@given(counters(), counters(), totals(), totals(), st.floats(-10, 1e4))
def test_whatever_the_plug_in_told_no_rate_is_negative(
    new: EngineCounters, old: EngineCounters, after: StepTotals, before: StepTotals, seconds: float
) -> None:
    point = working_point(new, old, 10.0, StepsWindow(after, before, seconds))
    if point is not None:
        assert _negative(point) == []
        assert point.busy_ratio is None or point.busy_ratio <= 1


OLD = EngineCounters(100, 50, 50, 150, 80, 40, 1, 9, 1e9, 1e8)
NEW = EngineCounters(300, 150, 150, 450, 180, 90, 3, 19, 3e9, 2e8)


def test_the_figures_of_a_window() -> None:
    point = working_point(NEW, OLD, 10.0)
    assert point is not None
    assert point.batch_tokens_per_step == 3.0
    assert point.prompt_tokens_per_second == 20.0
    assert point.generation_tokens_per_second == 10.0
    assert point.flops_per_second == 2e8
    assert point.intensity_flops_per_byte == 20.0
    assert point.prefix_hit_ratio == 0.5
    assert point.preemptions_per_second == 0.2
    assert point.ttft_seconds_p50 is None


STEPS = StepsWindow(
    StepTotals(110, 900, 300, 440, 0, 5e9, 6e8, 2e8, 7.0, 4),
    StepTotals(10, 100, 100, 40, 0, 1e9, 1e8, 1e8, 2.0, 2),
    8.0,
)


def test_what_the_plug_in_counted_is_preferred_and_said() -> None:
    point = working_point(NEW, OLD, 10.0, STEPS)
    assert point is not None
    assert point.source is FigureSource.PLUGIN
    assert (point.batch_tokens_per_step, point.running_per_step) == (10.0, 4.0)
    assert (point.prefill_tokens_per_second, point.decode_tokens_per_second) == (100.0, 25.0)
    assert (point.flops_per_second, point.bytes_per_second) == (5e8, 0.75e8)
    assert point.intensity_flops_per_byte == 4e9 / 6e8
    assert (point.busy_ratio, point.preemptions_per_second) == (0.625, 0.25)
    assert (point.prompt_tokens_per_second, point.prefix_hit_ratio) == (20.0, 0.5), "the plug-in does not tell these"


def test_the_plug_in_alone_makes_a_working_point() -> None:
    point = working_point(EngineCounters(), EngineCounters(), 10.0, STEPS)
    assert point is not None
    assert (point.batch_tokens_per_step, point.prompt_tokens_per_second) == (10.0, None)


def test_an_engine_that_does_not_estimate_its_flops_has_those_of_its_metrics() -> None:
    silent = replace(STEPS, new=replace(STEPS.new, flops=1e9, read_bytes=1e8, write_bytes=1e8))
    point = working_point(NEW, OLD, 10.0, silent)
    assert point is not None
    assert (point.flops_per_second, point.bytes_per_second, point.intensity_flops_per_byte) == (2e8, 1e7, 20.0)
    point = working_point(EngineCounters(), EngineCounters(), 10.0, silent)
    assert point is not None
    assert (point.flops_per_second, point.intensity_flops_per_byte) == (None, None)


@pytest.mark.parametrize(
    "window",
    [
        replace(STEPS, seconds=0.0),
        replace(STEPS, new=STEPS.old),
        StepsWindow(STEPS.old, STEPS.new, 8.0),
        replace(STEPS, new=replace(STEPS.new, busy_seconds=0.0)),
    ],
)
def test_without_steps_of_one_process_the_metrics_speak(window: StepsWindow) -> None:
    point = working_point(NEW, OLD, 10.0, window)
    assert point is not None
    assert (point.source, point.batch_tokens_per_step, point.busy_ratio) == (FigureSource.METRICS, 3.0, None)


def _changed(counter: str, value: int | None) -> dict[str, Any]:
    return {counter: value}


@pytest.mark.parametrize(
    ("counter", "figure"),
    [
        ("prompt_tokens", "prompt_tokens_per_second"),
        ("generation_tokens", "generation_tokens_per_second"),
        ("steps", "batch_tokens_per_step"),
        ("flops", "flops_per_second"),
        ("flops", "intensity_flops_per_byte"),
        ("bytes", "intensity_flops_per_byte"),
        ("prefix_hit_tokens", "prefix_hit_ratio"),
        ("preemptions", "preemptions_per_second"),
    ],
)
def test_a_counter_that_is_unknown_or_went_backwards_gives_no_figure(counter: str, figure: str) -> None:
    for value in (None, 0):
        point = working_point(replace(NEW, **_changed(counter, value)), OLD, 10.0)
        assert point is not None
        assert getattr(point, figure) is None


def test_without_tokens_or_time_there_is_no_working_point() -> None:
    assert working_point(NEW, NEW, 10.0) is None
    assert working_point(NEW, OLD, 0.0) is None
    assert working_point(replace(NEW, step_tokens=None), OLD, 10.0) is None
    assert working_point(OLD, NEW, 10.0) is None  # everything went backwards
