"""What a request would cost where, in seconds."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.observed import WorkingPoint
from controlplane.policies.routing.costs import cost, expected_wait_seconds, step_seconds
from tests.support.candidates import candidate


def test_an_idle_engine_costs_nothing() -> None:
    assert cost(candidate(), 3.0).total_seconds == 0.0


def test_the_wait_is_the_queue_over_the_rate_at_which_requests_end() -> None:
    busy = candidate(running=4, waiting=6, unreported=2, request_seconds_mean=2.0)
    assert expected_wait_seconds(busy) == 8 * 2.0 / 4
    assert expected_wait_seconds(candidate(running=None, waiting=None, unreported=3)) == 3.0  # assumed: a second each


def test_a_step_under_way_must_end_first() -> None:
    point = WorkingPoint(10.0, inter_token_seconds_p50=0.03)
    assert step_seconds(candidate(running=1, working_point=point)) == 0.015
    assert step_seconds(candidate(running=1)) == 0.025
    assert step_seconds(candidate(inflight=1)) == 0.025
    assert step_seconds(candidate(working_point=point)) == 0.0


def test_old_data_costs_what_it_is_too_old() -> None:
    terms = dict(cost(candidate(age_seconds=7.0), 3.0).terms_seconds)
    assert terms == {"wait": 0.0, "step": 0.0, "data age": 4.0}


@given(
    running=st.none() | st.integers(0, 1000),
    waiting=st.none() | st.integers(0, 1000),
    unreported=st.integers(0, 1000),
    age=st.floats(0, 1e4),
    mean=st.none() | st.floats(0, 1e3),
)
def test_no_term_is_negative_and_more_ahead_never_costs_less(
    running: int | None, waiting: int | None, unreported: int, age: float, mean: float | None
) -> None:
    one = candidate(running=running, waiting=waiting, unreported=unreported, age_seconds=age, request_seconds_mean=mean)
    found = cost(one, 3.0)
    assert all(seconds >= 0 for _, seconds in found.terms_seconds)
    assert cost(replace(one, unreported=unreported + 1), 3.0).total_seconds >= found.total_seconds
