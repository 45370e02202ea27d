"""The language of one request's decision: what is asked, and the three answers there are.

Spoken by `gateway.decision_app` (asks), `services.decide_request` (answers) and the policies. Pure values.
"""

from dataclasses import dataclass, field
from enum import Enum


class Reason(Enum):
    """Why an engine was left out, or a request refused. Stable names for metrics; sentences for people come with them."""

    WRONG_MODEL = "wrong_model"
    NOT_READY = "not_ready"
    DRAINING = "draining"
    CORDONED = "cordoned"
    STALE = "stale"
    NO_ENDPOINT = "no_endpoint"
    PATH_NOT_SERVED = "path_not_served"


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """One client's request, after the gateway has checked its key."""

    request_id: str
    tenant: str
    key_id: str
    path: str
    body: bytes
    received_monotonic: float = 0.0  # seconds, of the daemon's monotonic clock


@dataclass(frozen=True, slots=True)
class Admit:
    """Send it to the first of `endpoints` that takes it. Both tuples run in parallel, best first."""

    endpoints: tuple[str, ...]  # "host:port"
    engine_ids: tuple[str, ...]
    model: str = ""


@dataclass(frozen=True, slots=True)
class PassThrough:
    """We cannot tell: let the gateway choose among the last known engines of the model (fail open)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """An answer to the client, in the form that OpenAI's clients understand."""

    status: int
    code: str
    message: str
    error_type: str = "invalid_request_error"
    param: str | None = None
    retry_after_seconds: float | None = None


Answer = Admit | PassThrough | Refuse


@dataclass(frozen=True, slots=True)
class Rejection:
    """An engine that was left out, and why."""

    engine_id: str
    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What sending the request to an engine would cost, in seconds, term by term."""

    engine_id: str
    terms_seconds: tuple[tuple[str, float], ...] = field(default_factory=tuple)

    @property
    def total_seconds(self) -> float:
        return sum(seconds for _, seconds in self.terms_seconds)
