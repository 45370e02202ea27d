"""What became of requests, under names that are bounded."""

from typing import Any

import pytest

from controlplane.fleet.requests import RequestEnd
from controlplane.policies.decision import Admit, PassThrough, Refuse
from controlplane.runtime.request_counts import TENANTS_MAX, Decided, Place, RequestCounts, RequestOutcome, outcome_of
from tests.support.clock import START


def end(**changes: Any) -> RequestEnd:
    return RequestEnd(
        **{"request_id": "r", "started_at": START, "method": "POST", "path": "/v1", "status": 200, **changes}
    )


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, RequestOutcome.COMPLETED),
        ({"status": 503, "flags": ("unauthorized_details",)}, RequestOutcome.REFUSED),
        ({"status": 401}, RequestOutcome.REJECTED),
        ({"status": 0}, RequestOutcome.CLIENT_LEFT),
        ({"flags": ("downstream_connection_termination",)}, RequestOutcome.CLIENT_LEFT),
        ({"details": "upstream_reset_after_response_started{x}"}, RequestOutcome.CUT_OFF),
        ({"status": 503, "details": "upstream_reset_before_response_started{x}"}, RequestOutcome.FAILED),
        ({"status": 500}, RequestOutcome.FAILED),
    ],
)
def test_each_request_has_one_outcome(changes: dict[str, Any], outcome: RequestOutcome) -> None:
    assert outcome_of(end(**changes)) is outcome


def test_answers_are_counted_by_model_and_refusals_by_reason() -> None:
    counts = RequestCounts()
    counts.decided("llama", Admit(("a:1",), ("e",), "llama"), 0.001)
    counts.decided("llama", Refuse(503, "no_capacity", ""), 0.0002)
    counts.decided("other", PassThrough("why"), 0.0002)
    assert counts.decisions == {
        ("llama", Decided.ADMITTED): 1,
        ("llama", Decided.REFUSED): 1,
        ("other", Decided.PASSED): 1,
    }
    assert counts.refusals == {("llama", "no_capacity"): 1}
    assert sum(counts.decision_seconds.counts) == 3


def test_only_completed_requests_have_durations() -> None:
    counts = RequestCounts()
    counts.ended("llama", Place(), end(duration_seconds=2.0, first_byte_seconds=0.2))
    counts.ended("llama", Place(), end(status=503, duration_seconds=0.001))
    assert counts.duration_seconds["llama"].sum_seconds == 2.0
    assert counts.first_byte_seconds["llama"].sum_seconds == 0.2


def test_tenants_beyond_the_bound_share_a_name() -> None:
    counts = RequestCounts()
    for number in range(TENANTS_MAX + 5):
        counts.ended("llama", Place(), end(tenant=f"t{number}"))
    assert counts.tenants["other", RequestOutcome.COMPLETED] == 5
    assert len(counts.tenants) == TENANTS_MAX + 1
