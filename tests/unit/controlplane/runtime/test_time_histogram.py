"""Durations in buckets."""

from hypothesis import given
from hypothesis import strategies as st

from controlplane.runtime.time_histogram import TimeHistogram


def test_a_bound_closes_its_bucket_and_a_clock_that_went_back_is_no_time() -> None:
    histogram = TimeHistogram((1.0, 2.0))
    for seconds in (1.0, 1.5, 2.5, -4.0):
        histogram.add(seconds)
    assert (histogram.counts, histogram.sum_seconds) == ([2, 1, 1], 5.0)


@given(st.lists(st.floats(0, 100)))
def test_each_duration_is_in_one_bucket_and_a_copy_stays_as_it_was(durations: list[float]) -> None:
    histogram = TimeHistogram((0.1, 1.0, 10.0))
    for seconds in durations:
        histogram.add(seconds)
    copy = histogram.copy()
    histogram.add(5.0)
    assert sum(copy.counts) == len(durations)
