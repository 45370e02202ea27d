"""What routing looks at: one engine with all that is known of it. Built from a snapshot, pure.

Called by `services.decide_request` and wherever a console must say why an engine gets no requests.
"""

from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.desired import DesiredState
from controlplane.fleet.observed import EngineState, Trust, WorkingPoint
from controlplane.fleet.snapshot import FleetSnapshot


@dataclass(frozen=True, slots=True)
class Candidate:
    engine_id: str
    model: str
    endpoint: str
    node: str
    provider: str
    region: str
    state: EngineState
    trust: Trust
    age_seconds: float  # of what the engine last reported
    wanted: bool  # its placement exists and is to run
    placed_model: str  # what its placement says that it serves; "" without one
    cordoned: bool
    served_paths: tuple[str, ...]
    running: int | None
    waiting: int | None
    working_point: WorkingPoint | None
    unreported: int = 0  # sent there after its last report
    inflight: int = 0  # sent there and not ended, as the gateway tells
    request_seconds_mean: float | None = None  # of the requests that ended lately


def candidate(snapshot: FleetSnapshot, engine_id: str, now: datetime) -> Candidate:
    """The engine as routing sees it; KeyError when the snapshot has none of that id."""
    engine = snapshot.engines[engine_id]
    report = engine.report
    node = snapshot.nodes.get(engine.node)
    enrolled = snapshot.desired.nodes.get(engine.node)
    placement = snapshot.placement(engine_id)
    return Candidate(
        engine_id=engine_id,
        model=report.model,
        endpoint=report.endpoint,
        node=engine.node,
        provider=enrolled.location.provider if enrolled else "",
        region=enrolled.location.region if enrolled else "",
        state=report.state,
        trust=node.trust if node else Trust.STALE,
        age_seconds=max(0.0, (now - engine.received_at).total_seconds()),
        wanted=placement is not None and placement.node == engine.node and placement.desired is DesiredState.RUNNING,
        placed_model=placement.deployment.model if placement else "",
        cordoned=enrolled.cordoned if enrolled else True,
        served_paths=report.served_paths,
        running=report.gauges.running,
        waiting=report.gauges.waiting,
        working_point=engine.working_point,
    )
