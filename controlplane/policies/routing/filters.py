"""Hard reasons not to send a request to an engine. Pure; called by `policies.routing.route` and for consoles.

Every rejection says why, in an enum for metrics and a sentence for people.
"""

from controlplane.fleet.observed import EngineState, Trust
from controlplane.policies.decision import Reason, Rejection
from controlplane.policies.routing.candidates import Candidate


def reject(candidate: Candidate, path: str | None = None) -> Rejection | None:
    """Why this engine gets no new requests (of `path`, when told), or None when it may."""

    def because(reason: Reason, sentence: str) -> Rejection:
        return Rejection(candidate.engine_id, reason, sentence)

    if not candidate.wanted:
        return because(Reason.DRAINING, "its placement is being drained or removed")
    if candidate.model != candidate.placed_model:
        return because(Reason.WRONG_MODEL, f"it serves {candidate.model}, its placement is of {candidate.placed_model}")
    if candidate.state is EngineState.DRAINING:
        return because(Reason.DRAINING, "it is draining")
    if candidate.state is not EngineState.READY:
        return because(Reason.NOT_READY, f"it is {candidate.state.value.replace('_', ' ')}")
    if candidate.cordoned:
        return because(Reason.CORDONED, f"its node {candidate.node} is cordoned")
    if not candidate.endpoint:
        return because(Reason.NO_ENDPOINT, "its agent has not told where it can be reached")
    if candidate.trust is Trust.STALE:
        return because(Reason.STALE, f"nothing was heard from {candidate.node} for {candidate.age_seconds:.0f} s")
    if path is not None and candidate.served_paths and path not in candidate.served_paths:
        return because(Reason.PATH_NOT_SERVED, f"the model does not serve {path}")
    return None
