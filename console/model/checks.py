"""What deserves an operator's attention before it breaks something: a full KV cache, a wrong clock, an old certificate.

`stoker status` shows these after what `console.model.overview` calls wrong. Pure: judged from a view at a moment.
"""

from collections.abc import Iterator
from datetime import timedelta

from console.model import format as fmt
from console.model.fleet_view import DesiredState, EngineRow, EngineState, FleetView, NodeRow, Severity, Trust
from console.model.fulfilment import Fulfilment, fulfilment
from console.model.overview import Moment, Problem, Topic, is_stale

KV_FULL_RATIO = 0.95  # above this, vLLM soon preempts and recomputes
CLOCK_ERROR_SECONDS_MAX = 5.0
CERTIFICATE_REMAINING_MIN = timedelta(hours=1)


def checks(view: FleetView, moment: Moment) -> tuple[Problem, ...]:
    """Warnings first, then what is only good to know."""
    found = [
        *(problem for node in view.nodes.values() for problem in _node(node, moment)),
        *(problem for engine in view.engines.values() for problem in _engine(engine, moment)),
        *_placements(view),
    ]
    return tuple(sorted(found, key=lambda problem: (problem.severity is Severity.INFO, problem.key)))


def _node(node: NodeRow, moment: Moment) -> Iterator[Problem]:
    error_seconds, expiry = node.clock_error_seconds, node.certificate_not_after
    if error_seconds is not None and abs(error_seconds) > CLOCK_ERROR_SECONDS_MAX:
        detail = f"wrong by {fmt.duration(abs(error_seconds))}: set up NTP on the node"
        yield Problem(Severity.WARNING, Topic.NODE, node.name, "clock", detail, None)
    if expiry is not None and moment.now is not None and expiry - moment.now < CERTIFICATE_REMAINING_MIN:
        left_seconds = (expiry - moment.now).total_seconds()
        detail = (
            "has expired: the node has to join again" if left_seconds <= 0 else f"ends in {fmt.duration(left_seconds)}"
        )
        yield Problem(Severity.WARNING, Topic.NODE, node.name, "certificate", detail, expiry)
    if node.cordoned:
        yield Problem(Severity.INFO, Topic.NODE, node.name, "cordoned", fmt.clean(node.cordon_reason), None)


def _engine(engine: EngineRow, moment: Moment) -> Iterator[Problem]:
    ratio = engine.kv_used_ratio
    if ratio is not None and ratio >= KV_FULL_RATIO and not is_stale(engine, moment):
        detail = f"{fmt.percent(ratio)} of the KV cache is used, {fmt.quantity(engine.waiting)} requests wait"
        yield Problem(Severity.WARNING, Topic.ENGINE, engine.engine_id, "KV full", detail, None)
    if engine.state is EngineState.READY and not engine.routable and engine.trust in (Trust.FRESH, Trust.AGEING):
        detail = f"ready, yet gets no requests: {fmt.text_or_unknown(engine.not_routable_reason)}"
        yield Problem(Severity.WARNING, Topic.ENGINE, engine.engine_id, "not used", detail, None)


def _placements(view: FleetView) -> Iterator[Problem]:
    for placement in view.placements.values():
        node, engine = view.nodes.get(placement.node), view.engines.get(placement.placement_id)
        found = fulfilment(placement, engine)
        if found is Fulfilment.DONE or placement.desired is DesiredState.UNKNOWN:
            continue
        if node is not None and not node.connected:
            continue  # that is told of the node
        if found is Fulfilment.PENDING:
            detail = f"is to be {placement.desired.value}; its node has not taken that up yet"
        else:
            running = fmt.quantity(engine.running if engine else None)
            after = " and is forgotten" if found is Fulfilment.REMOVING else ""
            detail = f"it stops when its requests have ended ({running} run){after}"
        yield Problem(Severity.INFO, Topic.ENGINE, placement.placement_id, found.value, detail, placement.created_at)
