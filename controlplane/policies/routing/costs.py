"""What sending a request to an engine would cost, in seconds, each term by name. Pure; called by `policies.routing.route`.

The first of the terms of the design: expected wait, and the age of what we know. Prefill, slowdown, recompute and round trip
join here, as further terms in seconds.
"""

from controlplane.policies.decision import Cost
from controlplane.policies.routing.candidates import Candidate

REQUEST_SECONDS_ASSUMED = 1.0  # until a request of this engine has ended
STEP_SECONDS_ASSUMED = 0.05  # until two tokens have come out of it


def expected_wait_seconds(candidate: Candidate) -> float:
    """How long a new request waits before the engine begins with it.

    By Little's law an engine that runs R requests of T seconds each finishes R / T of them a second, so q requests ahead in
    its queue take q·T / R. What we sent after its last report counts as ahead.
    """
    running = max(1, candidate.running or 0)
    ahead = (candidate.waiting or 0) + candidate.unreported
    each = candidate.request_seconds_mean if candidate.request_seconds_mean is not None else REQUEST_SECONDS_ASSUMED
    return ahead * each / running


def step_seconds(candidate: Candidate) -> float:
    """The step under way must end before a new request joins the batch: on average half a step, 0 when idle."""
    if not (candidate.running or candidate.unreported or candidate.inflight):
        return 0.0
    point = candidate.working_point
    step = point.inter_token_seconds_p50 if point is not None else None
    return (step if step is not None else STEP_SECONDS_ASSUMED) / 2


def cost(candidate: Candidate, fresh_seconds: float) -> Cost:
    """All terms for this engine. `fresh_seconds`: a report younger than this carries no penalty for its age."""
    return Cost(
        candidate.engine_id,
        (
            ("wait", expected_wait_seconds(candidate)),
            ("step", step_seconds(candidate)),
            ("data age", max(0.0, candidate.age_seconds - fresh_seconds)),
        ),
    )
