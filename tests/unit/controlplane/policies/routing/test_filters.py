"""Every hard reason against an engine, each by itself."""

from typing import Any

import pytest

from controlplane.fleet.observed import EngineState, Trust
from controlplane.policies.decision import Reason
from controlplane.policies.routing.filters import reject
from tests.support.candidates import candidate

PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"wanted": False}, Reason.DRAINING),
        ({"state": EngineState.DRAINING}, Reason.DRAINING),
        ({"model": "other"}, Reason.WRONG_MODEL),
        ({"state": EngineState.STARTING}, Reason.NOT_READY),
        ({"state": EngineState.STOPPING}, Reason.NOT_READY),
        ({"state": EngineState.STOPPED}, Reason.NOT_READY),
        ({"state": EngineState.BACKING_OFF}, Reason.NOT_READY),
        ({"state": EngineState.FAILED}, Reason.NOT_READY),
        ({"cordoned": True}, Reason.CORDONED),
        ({"endpoint": ""}, Reason.NO_ENDPOINT),
        ({"trust": Trust.STALE}, Reason.STALE),
        ({"served_paths": ("/v1/embeddings",)}, Reason.PATH_NOT_SERVED),
    ],
)
def test_each_reason(changes: dict[str, Any], reason: Reason) -> None:
    rejection = reject(candidate(**changes), PATH)
    assert rejection is not None
    assert (rejection.engine_id, rejection.reason) == ("e1", reason)
    assert rejection.sentence


@pytest.mark.parametrize("changes", [{}, {"trust": Trust.AGEING}, {"served_paths": ()}, {"running": None}])
def test_what_may_take_requests(changes: dict[str, Any]) -> None:
    assert reject(candidate(**changes), PATH) is None


def test_without_a_path_no_path_is_asked_for() -> None:
    assert reject(candidate(served_paths=("/v1/embeddings",))) is None
