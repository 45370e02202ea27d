"""Keep the gateway's files in step with the fleet: which models there are, and which engines serve each.

Called by the fleet store at every swap. The files are what the gateway goes on with when this daemon is dead, so an engine
leaves them only for a reason that would hold without us: it is not ready, being drained, or lost while most others are not.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace

from controlplane.fleet.desired import DesiredState
from controlplane.fleet.diff import diff
from controlplane.fleet.endpoints import EngineEndpoint, PublishedFleet
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import EngineState
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot


class PublishEndpoints:
    def __init__(
        self, write: Callable[[PublishedFleet], bool], revoked_key_ids: Callable[[], AbstractSet[str]]
    ) -> None:
        """`write` puts the fleet where the gateway reads it; it is called when something changed, or when it last
        answered False: that it could not. `revoked_key_ids`: the keys that operators took back, as of now.
        """
        self._write = write
        self._revoked_key_ids = revoked_key_ids
        self._published: PublishedFleet | None = None

    def on_change(self, before: FleetSnapshot, after: FleetSnapshot, _: tuple[FleetEvent, ...]) -> None:
        changes = diff(before, after)
        if self._published is not None and not (
            changes.engines
            or changes.removed_engines
            or changes.placements
            or changes.removed_placements
            or changes.nodes
        ):
            return
        self.refresh(after)

    def refresh(self, snapshot: FleetSnapshot) -> None:
        """Publish what the gateway should know now; also when it is not the fleet that changed but the revoked keys."""
        fleet = replace(published(snapshot), revoked_key_ids=tuple(sorted(self._revoked_key_ids())))
        if fleet != self._published:
            self._published = fleet if self._write(fleet) else None


def published(snapshot: FleetSnapshot) -> PublishedFleet:
    """What the gateway should know of this snapshot."""
    engines = tuple(
        EngineEndpoint(engine.engine_id, engine.report.model, engine.report.endpoint, _identity(snapshot, engine.node))
        for _, engine in sorted(snapshot.engines.items())
        if _belongs(snapshot, engine)
    )
    return PublishedFleet(tuple(sorted(snapshot.models())), engines)


def _identity(snapshot: FleetSnapshot, node: str) -> str:
    """Whose certificate the node's engines show: its own, or that of the simulator which speaks for it."""
    enrolled = snapshot.desired.nodes.get(node)
    return enrolled.simulated_by or node if enrolled is not None else node


def _belongs(snapshot: FleetSnapshot, engine: EngineObserved) -> bool:
    placement = snapshot.placement(engine.engine_id)
    if placement is None or placement.node != engine.node or placement.desired is not DesiredState.RUNNING:
        return False
    if engine.report.model != placement.deployment.model:
        return False
    if engine.report.state is not EngineState.READY or not engine.report.endpoint:
        return False
    node = snapshot.nodes.get(engine.node)
    return node is not None and (not node.lost or snapshot.suspect)
