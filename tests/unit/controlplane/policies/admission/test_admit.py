"""Who is refused, with which status and what advice."""

import pytest

from controlplane.policies.admission.admit import no_capacity, revoked, unknown_model
from controlplane.policies.decision import Reason, Rejection


def rejected(*reasons: Reason) -> list[Rejection]:
    return [Rejection(f"e{index}", reason, "because") for index, reason in enumerate(reasons)]


def test_a_revoked_key_is_refused_and_no_other() -> None:
    refusal = revoked("k1", {"k1", "k2"})
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.error_type) == (401, "invalid_api_key", "invalid_request_error")
    assert refusal.retry_after_seconds is None
    assert revoked("k3", {"k1", "k2"}) is None


def test_an_unknown_model_is_a_404_that_names_it_printably() -> None:
    refusal = unknown_model("gpt\x1b[31m\n" + "x" * 1000)
    assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", "model")
    assert refusal.message.isprintable()
    assert len(refusal.message) < 400


@pytest.mark.parametrize(
    ("rejections", "seconds", "starting"),
    [
        (rejected(), 30.0, False),
        (rejected(Reason.STALE, Reason.DRAINING), 30.0, False),
        (rejected(Reason.STALE, Reason.NOT_READY), 10.0, True),
        (rejected(Reason.PATH_NOT_SERVED, Reason.STALE), 30.0, False),
    ],
)
def test_no_capacity_says_when_to_try_again(rejections: list[Rejection], seconds: float, *, starting: bool) -> None:
    refusal = no_capacity("llama", rejections)
    assert (refusal.status, refusal.code, refusal.error_type) == (503, "no_capacity", "service_unavailable_error")
    assert refusal.retry_after_seconds == seconds
    assert ("starting" in refusal.message) is starting


def test_a_path_that_no_engine_of_the_model_serves_will_not_be_served_later_either() -> None:
    refusal = no_capacity("llama", rejected(Reason.PATH_NOT_SERVED, Reason.PATH_NOT_SERVED))
    assert (refusal.status, refusal.code, refusal.retry_after_seconds) == (404, "path_not_served", None)
