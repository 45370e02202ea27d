"""What became of clients' requests since the start: decisions, refusals and how requests ended. Plain counters.

Added to by `services.decide_request` and `services.finish_request`, read for metrics. The names under which it counts are
bounded: models that operators deployed, reasons that our own code gives, and the first `TENANTS_MAX` tenants.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from controlplane.fleet.requests import RequestEnd
from controlplane.policies.decision import Admit, Answer, PassThrough, Refuse
from controlplane.runtime.deployed_models import OTHER
from controlplane.runtime.time_histogram import TimeHistogram

TENANTS_MAX = 200
DECISION_BOUNDS_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
REQUEST_BOUNDS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Decided(Enum):
    """The three answers that there are."""

    ADMITTED = "admitted"
    PASSED = "passed"  # we could not tell: the gateway chose
    REFUSED = "refused"


class RequestOutcome(Enum):
    """How a request ended at the gateway."""

    COMPLETED = "completed"
    REFUSED = "refused"  # by admission
    REJECTED = "rejected"  # the client's fault: no valid key, too large, what the engine found wrong with it
    CLIENT_LEFT = "client_left"
    CUT_OFF = "cut_off"  # the engine ended in the middle of its answer
    FAILED = "failed"  # ours: no engine could be reached, or the engine failed


def outcome_of(end: RequestEnd) -> RequestOutcome:
    """One outcome for each request; a refusal stays one although its status is an error's."""
    if end.refused:
        return RequestOutcome.REFUSED
    if end.cut_off:
        return RequestOutcome.CUT_OFF
    if end.engine_failed:
        return RequestOutcome.FAILED
    if end.client_left or end.status == 0:
        return RequestOutcome.CLIENT_LEFT
    if end.status >= 500:
        return RequestOutcome.FAILED
    return RequestOutcome.REJECTED if end.status >= 400 else RequestOutcome.COMPLETED


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request ended up; all "" when no engine of ours had it."""

    provider: str = ""
    region: str = ""


@dataclass
class RequestCounts:
    decisions: Counter[tuple[str, Decided]] = field(default_factory=Counter)  # by model
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)  # by model and the refusal's code
    decision_seconds: TimeHistogram = field(default_factory=lambda: TimeHistogram(DECISION_BOUNDS_SECONDS))
    ends: Counter[tuple[str, Place, RequestOutcome]] = field(default_factory=Counter)  # by model
    tenants: Counter[tuple[str, RequestOutcome]] = field(default_factory=Counter)
    duration_seconds: dict[str, TimeHistogram] = field(default_factory=dict)  # by model, of those that completed
    first_byte_seconds: dict[str, TimeHistogram] = field(default_factory=dict)  # likewise
    _named_tenants: set[str] = field(default_factory=set)

    def decided(self, model: str, answer: Answer, seconds: float) -> None:
        """`model`: one of the fleet's, or "other"."""
        match answer:
            case Admit():
                decided = Decided.ADMITTED
            case PassThrough():
                decided = Decided.PASSED
            case Refuse(code=code):
                decided = Decided.REFUSED
                self.refusals[model, code] += 1
        self.decisions[model, decided] += 1
        self.decision_seconds.add(seconds)

    def ended(self, model: str, place: Place, end: RequestEnd) -> None:
        """Likewise. Durations are those of requests that completed: a refusal's would make the others look fast."""
        outcome = outcome_of(end)
        self.ends[model, place, outcome] += 1
        self.tenants[self._tenant(end.tenant), outcome] += 1
        if outcome is not RequestOutcome.COMPLETED:
            return
        for seconds, histograms in (
            (end.duration_seconds, self.duration_seconds),
            (end.first_byte_seconds, self.first_byte_seconds),
        ):
            if seconds is not None:
                histogram = histograms.get(model)
                if histogram is None:
                    histogram = histograms[model] = TimeHistogram(REQUEST_BOUNDS_SECONDS)
                histogram.add(seconds)

    def copy(self) -> "RequestCounts":
        """As of now, for a reader in another thread."""
        return RequestCounts(
            Counter(self.decisions),
            Counter(self.refusals),
            self.decision_seconds.copy(),
            Counter(self.ends),
            Counter(self.tenants),
            {model: histogram.copy() for model, histogram in self.duration_seconds.items()},
            {model: histogram.copy() for model, histogram in self.first_byte_seconds.items()},
        )

    def _tenant(self, tenant: str) -> str:
        if not tenant or tenant in self._named_tenants:
            return tenant
        if len(self._named_tenants) >= TENANTS_MAX:
            return OTHER
        self._named_tenants.add(tenant)
        return tenant
