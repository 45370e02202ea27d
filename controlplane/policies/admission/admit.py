"""The first admission policy: a request is let in when its key stands and an engine can take it. Pure.

Called by `services.decide_request`, before and after routing. Limits, classes and the waiting room join here.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from controlplane.policies.decision import Reason, Refuse, Rejection

RETRY_SECONDS_STARTING = 10.0  # engines of the model exist and are not ready yet
RETRY_SECONDS_NONE = 30.0


def revoked(key_id: str, revoked_ids: AbstractSet[str]) -> Refuse | None:
    """Refuse a key that an operator took back."""
    if key_id in revoked_ids:
        return Refuse(
            401,
            "invalid_api_key",
            "This API key was revoked. Ask whoever runs this service for a new one.",
        )
    return None


def unknown_model(model: str) -> Refuse:
    return Refuse(
        404,
        "model_not_found",
        f"The model {_quoted(model)} does not exist here. GET /v1/models lists those that do.",
        param="model",
    )


def no_capacity(model: str, rejections: Sequence[Rejection]) -> Refuse:
    """No engine can take the request now: say so honestly, with why."""
    if rejections and all(rejection.reason is Reason.PATH_NOT_SERVED for rejection in rejections):
        return Refuse(
            404, "path_not_served", f"The model {_quoted(model)} does not serve this endpoint.", param="model"
        )
    coming = any(rejection.reason is Reason.NOT_READY for rejection in rejections)
    message = f"No engine can take requests for {_quoted(model)} at the moment"
    message += ": they are starting. " if coming else ". "
    return Refuse(
        503,
        "no_capacity",
        message + "Try again after the time in Retry-After.",
        error_type="service_unavailable_error",
        retry_after_seconds=RETRY_SECONDS_STARTING if coming else RETRY_SECONDS_NONE,
    )


def _quoted(model: str) -> str:
    """A client's own text, bounded and made printable, since it comes back in an error and in logs."""
    return "'" + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in model[:200]) + "'"
