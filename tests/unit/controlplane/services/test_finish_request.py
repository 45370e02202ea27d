"""How a request ended, and what that says of the engine where it ran."""

from dataclasses import replace

import pytest

from controlplane.fleet.events import DesiredChanged
from controlplane.fleet.requests import RequestEnd
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.services.finish_request import FinishRequest
from tests.support.clock import START, SettableClock
from tests.support.fleet import THRESHOLDS, desired, enrolled, opened, placed, reported

END = RequestEnd(
    "r1", START, "POST", "/v1/completions", 200, model="llama", endpoint="10.0.0.2:8000", duration_seconds=2.0
)


@pytest.fixture
def inflight() -> Inflight:
    return Inflight()


@pytest.fixture
def finish(inflight: Inflight) -> FinishRequest:
    store = FleetStore(SettableClock(), THRESHOLDS)
    store.apply_now(
        DesiredChanged(desired([enrolled("gcp-1"), enrolled("aws-1")], [placed("llama@gcp-1"), placed("llama@aws-1")])),
        opened("gcp-1", 0, reported("llama@gcp-1", endpoint="10.0.0.1:8000")),
        opened("aws-1", 0, reported("llama@aws-1", endpoint="10.0.0.2:8000")),
    )
    return FinishRequest(store, inflight)


def test_the_time_counts_where_the_request_really_ran(finish: FinishRequest, inflight: Inflight) -> None:
    inflight.sent("r1", "llama@gcp-1", 0.0)
    finish(END)
    assert (inflight.count("llama@gcp-1"), inflight.total()) == (0, 0)
    assert inflight.request_seconds_mean("llama@aws-1") == 2.0
    assert inflight.request_seconds_mean("llama@gcp-1") is None


@pytest.mark.parametrize(
    "changes",
    [{"status": 503}, {"status": 400}, {"endpoint": ""}, {"endpoint": "10.9.9.9:1"}, {"model": "gpt"}],
)
def test_what_did_not_run_on_an_engine_says_nothing_of_its_speed(
    finish: FinishRequest, inflight: Inflight, changes: dict[str, object]
) -> None:
    inflight.sent("r1", "llama@gcp-1", 0.0)
    finish(replace(END, **changes))  # type: ignore[arg-type]  # of the right types, see above
    assert inflight.total() == 0
    assert inflight.request_seconds_mean("llama@aws-1") is None


def test_an_end_of_which_nobody_knew_the_beginning(finish: FinishRequest, inflight: Inflight) -> None:
    finish(END)
    assert (inflight.total(), inflight.count("llama@aws-1")) == (0, 0)
