"""What seldom changes of an engine, made anew only when what it was made from has changed. Used by `fleet_figures`. Pure."""

from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.desired import EnrolledNode, Placement
from controlplane.fleet.observed import EngineReport, EngineState, NodeFacts, Trust
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot, NodeObserved
from controlplane.policies.decision import Reason
from controlplane.policies.routing.candidates import candidate
from controlplane.policies.routing.filters import reject
from controlplane.runtime.engine_totals import Group, group_of

STATES, TRUSTS, REASONS = tuple(EngineState), tuple(Trust), tuple(Reason)
_UP = (EngineState.READY, EngineState.DRAINING)


@dataclass(slots=True)
class EngineRow:
    """`*_at`: where its state, trust and reason stand in STATES, TRUSTS and REASONS."""

    group: Group
    state_at: int
    trust_at: int
    reason_at: int | None  # None: it gets requests
    peak_flops_per_second: float  # 0.0: one of its devices does not tell both, or it is not up
    peak_bytes_per_second: float
    # What it was made from: compared by identity, or as values where those are small.
    enrolled: EnrolledNode | None
    placement: Placement | None
    models: frozenset[str]
    facts: NodeFacts | None
    trust: Trust
    state: EngineState
    model: str
    endpoint: str
    instance_id: str


def refreshed(
    row: EngineRow | None, snapshot: FleetSnapshot, engine: EngineObserved, models: frozenset[str], now: datetime
) -> EngineRow:
    """The row as it was, if nothing of it can have changed. `models`: those that are deployed, the same object while they are."""
    report = engine.report
    node = snapshot.nodes.get(engine.node)
    enrolled = snapshot.desired.nodes.get(engine.node)
    placement = snapshot.desired.placements.get(report.engine_id)
    trust, facts = (node.trust, node.facts) if node is not None else (Trust.STALE, None)
    if (
        row is not None
        and row.enrolled is enrolled
        and row.placement is placement
        and row.facts is facts
        and row.trust is trust
        and row.state is report.state
        and row.instance_id == report.instance_id
        and row.model == report.model
        and row.endpoint == report.endpoint
        and row.models is models
    ):
        return row
    rejection = reject(candidate(snapshot, report.engine_id, now))
    peak = _peak(node, report) if report.state in _UP else (0.0, 0.0)
    return EngineRow(
        group=group_of(snapshot, engine, models),
        state_at=STATES.index(report.state),
        trust_at=TRUSTS.index(trust),
        reason_at=None if rejection is None else REASONS.index(rejection.reason),
        peak_flops_per_second=peak[0],
        peak_bytes_per_second=peak[1],
        enrolled=enrolled,
        placement=placement,
        models=models,
        facts=facts,
        trust=trust,
        state=report.state,
        model=report.model,
        endpoint=report.endpoint,
        instance_id=report.instance_id,
    )


def _peak(node: NodeObserved | None, report: EngineReport) -> tuple[float, float]:
    """FLOP/s and bytes/s of all its devices for its own dtype; both or neither, since their quotient is the ridge."""
    flops = moved = 0.0
    for device in node.facts.devices if node is not None else ():
        if report.device_ids and device.device_id not in report.device_ids:
            continue
        ceiling = next((each for each in device.ceilings if each.dtype == report.dtype), None)
        if ceiling is None or not ceiling.flops_per_second or not ceiling.bytes_per_second:
            return 0.0, 0.0
        flops += ceiling.flops_per_second
        moved += ceiling.bytes_per_second
    return flops, moved
