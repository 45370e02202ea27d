"""Decide about one client's request: refuse it, or name the engines to send it to, best first.

Called by `gateway.decision_app` for every request. Never tokenises, never awaits I/O, and never keeps a reference to the body
after it has answered.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace

import msgspec

from controlplane.clock import Clock
from controlplane.fleet.desired import DesiredState
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.policies.admission.admit import no_capacity, revoked, unknown_model
from controlplane.policies.decision import Admit, Answer, DecisionRequest, PassThrough, Refuse
from controlplane.policies.routing.candidates import Candidate, candidate
from controlplane.policies.routing.route import route
from controlplane.runtime.deployed_models import OTHER, DeployedModels
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.runtime.request_counts import RequestCounts
from controlplane.services.count_admission import CountAdmission


class _Body(msgspec.Struct):
    """The one field of a request that the decision reads; the rest passes through untouched."""

    model: str | None = None


_decoder = msgspec.json.Decoder(_Body)


class DecideRequest:
    def __init__(
        self,
        store: FleetStore,
        inflight: Inflight,
        clock: Clock,
        draw: Callable[[], float],
        revoked_key_ids: Callable[[], AbstractSet[str]],
        counts: RequestCounts | None = None,
        admission: CountAdmission | None = None,
    ) -> None:
        """`draw` gives numbers in [0, 1); `revoked_key_ids` the keys that operators took back, as of now."""
        self._store = store
        self._inflight = inflight
        self._clock = clock
        self._draw = draw
        self._revoked_key_ids = revoked_key_ids
        self._counts = RequestCounts() if counts is None else counts
        self._admission = admission
        self._deployed = DeployedModels()

    async def __call__(self, request: DecisionRequest) -> Answer:
        began = self._clock.monotonic()
        model, answer = self._answer(request)
        label = self._deployed.label(self._store.snapshot, model) if model else OTHER
        self._counts.decided(label, answer, self._clock.monotonic() - began)
        if self._admission is not None:
            self._admission.decided(request.request_id, request.tenant, label, answer)
        return answer

    def _answer(self, request: DecisionRequest) -> tuple[str, Answer]:
        """And the model that is asked for; "" when that is not known."""
        refusal = revoked(request.key_id, self._revoked_key_ids())
        if refusal is not None:
            return "", refusal
        model = _model_of(request.body)
        if isinstance(model, Refuse):
            return "", model
        return model, self._decide(request, model)

    def _decide(self, request: DecisionRequest, model: str) -> Answer:
        snapshot = self._store.snapshot
        engine_ids = snapshot.engines_by_model.get(model, ())
        if not engine_ids:
            if model not in self._deployed.of(snapshot):
                return unknown_model(model)
            if _unheard(snapshot, model):
                return PassThrough("we have just started and not all nodes where the model is placed have reported")
            return no_capacity(model, ())
        now = self._clock.now()
        candidates = [_with_load(candidate(snapshot, engine_id, now), self._inflight) for engine_id in engine_ids]
        decision = route(
            candidates, request.path, [self._draw() for _ in candidates], self._store.thresholds.fresh_seconds
        )
        if not decision.ranked:
            if snapshot.suspect:
                return PassThrough(
                    "most nodes fell silent at once: the gateway's last known engines are the better guess"
                )
            return no_capacity(model, decision.rejections)
        by_id = {item.engine_id: item for item in candidates}
        ranked = [by_id[cost.engine_id] for cost in decision.ranked]
        self._inflight.sent(request.request_id, ranked[0].engine_id, request.received_monotonic)
        return Admit(tuple(c.endpoint for c in ranked), tuple(c.engine_id for c in ranked), model)


def _unheard(snapshot: FleetSnapshot, model: str) -> bool:
    """Whether an engine of the model may run where nobody has reported from since we started."""
    return any(
        placement.deployment.model == model
        and placement.desired is DesiredState.RUNNING
        and (node := snapshot.nodes.get(placement.node)) is not None
        and not node.heard_since_boot
        for placement in snapshot.desired.placements.values()
    )


def _with_load(item: Candidate, inflight: Inflight) -> Candidate:
    """The candidate with what the gateway knows of it since its last report."""
    return replace(
        item,
        unreported=inflight.unreported(item.engine_id),
        inflight=inflight.count(item.engine_id),
        request_seconds_mean=inflight.request_seconds_mean(item.engine_id),
    )


def _model_of(body: bytes) -> str | Refuse:
    try:
        parsed = _decoder.decode(body)
    except msgspec.ValidationError:
        return Refuse(400, "invalid_type", "The field 'model' must be a string, in a JSON object.", param="model")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Refuse(400, "invalid_json", f"The request's body is not valid JSON: {error}")
    if not parsed.model:
        return Refuse(404, "model_required", "The request names no model: set the field 'model'.", param="model")
    return parsed.model
