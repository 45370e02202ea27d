"""What became of one request, by what the gateway tells of its end; and the counts of one minute. Plain state.

Used by `services.count_admission`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from controlplane.fleet.history import AdmissionCount
from controlplane.fleet.requests import RequestEnd
from controlplane.runtime.deployed_models import OTHER
from controlplane.runtime.request_counts import RequestOutcome, outcome_of

TENANTS_MAX = 1_000  # a minute, by name
BY_ANOTHER_DAEMON = "unknown"  # refused, but the decision was not ours
_BY_STATUS = {
    400: "bad_request",
    401: "invalid_api_key",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    426: "http_version",
    431: "headers_too_large",
    503: "service_unavailable",
}


class Fate(Enum):
    ADMITTED = "admitted"  # an engine was to have it
    REFUSED = "refused"
    LEFT = "left"  # the client left before either


@dataclass(frozen=True, slots=True)
class Decision:
    """What we said about a request. `refusal`: its code; "" when the request was let in."""

    minute: datetime
    tenant: str
    model: str
    refusal: str


class Key(NamedTuple):
    tenant: str
    model: str
    reason: str


@dataclass(slots=True)
class Counts:
    offered: int = 0
    admitted: int = 0
    refused: int = 0
    left: int = 0
    completed: int = 0
    failed: int = 0
    queue_seconds: float | None = None
    first_byte_seconds: float | None = None
    first_bytes: int | None = None


def fate_of(end: RequestEnd, decision: Decision | None) -> tuple[Fate, str] | None:
    """And the reason of a refusal. None: the gateway answered by itself what is no request for an engine."""
    unserved = not end.endpoint and not end.attempts_count
    if decision is not None and decision.refusal:
        return Fate.REFUSED, decision.refusal
    if end.refused:
        return Fate.REFUSED, BY_ANOTHER_DAEMON
    if unserved and (end.client_left or end.status == 0):
        return Fate.LEFT, ""
    if decision is not None or not unserved:
        return Fate.ADMITTED, ""
    if end.status < 400:
        return None
    return Fate.REFUSED, _BY_STATUS.get(end.status, "gateway_error")


@dataclass(slots=True)
class MinuteTally:
    """The requests that came in one minute and have ended."""

    _counts: dict[Key, Counts] = field(default_factory=dict)
    _tenants: set[str] = field(default_factory=set)
    _changed: set[Key] = field(default_factory=set)

    def add(self, tenant: str, model: str, fate: Fate, reason: str, end: RequestEnd | None) -> None:
        """`end` None: it will never be told."""
        key = Key(self._named(tenant), model, reason)
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = Counts()
        self._changed.add(key)
        counts.offered += 1
        match fate:
            case Fate.ADMITTED:
                counts.admitted += 1
                if end is not None:
                    _admitted(counts, end)
            case Fate.REFUSED:
                counts.refused += 1
            case Fate.LEFT:
                counts.left += 1

    def changed(self, minute: datetime, boot_id: str) -> Iterator[AdmissionCount]:
        """The rows that are not as they were at the last call."""
        for key in self._changed:
            counts = self._counts[key]
            yield AdmissionCount(
                minute,
                boot_id,
                key.tenant,
                key.model,
                key.reason,
                counts.offered,
                counts.admitted,
                counts.refused,
                counts.left,
                counts.completed,
                counts.failed,
                counts.queue_seconds,
                counts.first_byte_seconds,
                counts.first_bytes,
            )
        self._changed.clear()

    def _named(self, tenant: str) -> str:
        if not tenant or tenant in self._tenants:
            return tenant
        if len(self._tenants) >= TENANTS_MAX:
            return OTHER
        self._tenants.add(tenant)
        return tenant


def _admitted(counts: Counts, end: RequestEnd) -> None:
    outcome = outcome_of(end)
    counts.completed += outcome is RequestOutcome.COMPLETED
    counts.failed += outcome in (RequestOutcome.FAILED, RequestOutcome.CUT_OFF)
    if end.sent_to_engine_seconds is not None:
        counts.queue_seconds = (counts.queue_seconds or 0.0) + end.sent_to_engine_seconds
    if end.first_byte_seconds is not None:
        counts.first_byte_seconds = (counts.first_byte_seconds or 0.0) + end.first_byte_seconds
        counts.first_bytes = (counts.first_bytes or 0) + 1
