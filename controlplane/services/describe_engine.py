"""Say of an engine what its row shows beside its report: whether it gets requests and why not, and its ridge point. Pure.

Called by `rpc.fleet_codec` for every row that a watcher is sent.
"""

from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.observed import Ceiling
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot
from controlplane.fleet.sources import Source
from controlplane.policies.routing.candidates import candidate
from controlplane.policies.routing.filters import reject


@dataclass(frozen=True, slots=True)
class EngineDescription:
    routable: bool
    not_routable_reason: str
    ridge_flops_per_byte: float | None
    ridge_source: Source | None


def describe_engine(snapshot: FleetSnapshot, engine: EngineObserved, now: datetime) -> EngineDescription:
    """What to show of the engine as of `now`."""
    item = candidate(snapshot, engine.engine_id, now)
    rejection = reject(item)
    sentence = rejection.sentence if rejection else ""
    if snapshot.placement(engine.engine_id) is None:
        sentence = "no placement of this control plane names it: remove it, or place the model again"
    ceiling = ceiling_of(snapshot, engine)
    return EngineDescription(
        rejection is None,
        sentence,
        ceiling.ridge_flops_per_byte if ceiling else None,
        ceiling.source if ceiling else None,
    )


def ceiling_of(snapshot: FleetSnapshot, engine: EngineObserved) -> Ceiling | None:
    """The roofs of the engine's first device for its dtype; None rather than those of another dtype."""
    node = snapshot.nodes.get(engine.node)
    if node is None:
        return None
    report = engine.report
    for device in node.facts.devices:
        if report.device_ids and device.device_id not in report.device_ids:
            continue
        for ceiling in device.ceilings:
            if ceiling.dtype == report.dtype and ceiling.ridge_flops_per_byte is not None:
                return ceiling
    return None
