"""What routing sees of an engine, from a snapshot."""

from dataclasses import replace

import pytest

from controlplane.fleet.desired import DesiredState
from controlplane.fleet.events import DesiredChanged
from controlplane.fleet.observed import Trust
from controlplane.policies.routing.candidates import candidate
from tests.support.fleet import Timeline, at, desired, enrolled, opened, placed, reported


def line() -> Timeline:
    made = Timeline(desired([enrolled("gcp-1")], [placed("llama@gcp-1")]))
    made.step(0, opened("gcp-1", 0, reported("llama@gcp-1"), reported("stray@gcp-1")))
    return made


def test_all_that_is_known_of_it() -> None:
    found = candidate(line().snapshot, "llama@gcp-1", at(2))
    assert (found.model, found.placed_model, found.endpoint) == ("llama", "llama", "10.0.0.1:8000")
    assert (found.node, found.provider, found.region) == ("gcp-1", "gcp", "gcp-west")
    assert (found.wanted, found.cordoned, found.trust) == (True, False, Trust.FRESH)
    assert (found.age_seconds, found.running, found.waiting) == (2.0, 1, 0)
    assert (found.unreported, found.inflight, found.request_seconds_mean) == (0, 0, None)


def test_an_age_is_never_negative() -> None:
    assert candidate(line().snapshot, "llama@gcp-1", at(-5)).age_seconds == 0.0


@pytest.mark.parametrize("state", [DesiredState.DRAINED, DesiredState.REMOVED])
def test_what_is_taken_out_of_service_is_not_wanted(state: DesiredState) -> None:
    made = line()
    made.step(1, DesiredChanged(desired([enrolled("gcp-1")], [replace(placed("llama@gcp-1"), desired=state)])))
    assert not candidate(made.snapshot, "llama@gcp-1", at(1)).wanted


def test_what_nobody_placed_is_not_wanted() -> None:
    found = candidate(line().snapshot, "stray@gcp-1", at(1))
    assert (found.wanted, found.placed_model) == (False, "")


def test_a_cordon_shows() -> None:
    made = line()
    made.step(1, DesiredChanged(desired([enrolled("gcp-1", cordoned=True)], [placed("llama@gcp-1")])))
    assert candidate(made.snapshot, "llama@gcp-1", at(1)).cordoned


def test_there_is_none_of_another_id() -> None:
    with pytest.raises(KeyError):
        candidate(line().snapshot, "nobody", at(1))
