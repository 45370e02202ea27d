"""Steps of the fleet's watch, to the wire. Encodes a step once, however many watch.

Called by `rpc.operator_service`. What differs from caller to caller (who they are) is added to a copy.
"""

from collections.abc import Callable

from controlplane.clock import Clock
from controlplane.fleet.inside import ResidencyHeld
from controlplane.proto.stoker.v1 import operator_pb2
from controlplane.rpc.access_codec import server_to_wire
from controlplane.rpc.fleet_codec import engine_to_wire, event_to_wire, model_to_wire, node_to_wire, placement_to_wire
from controlplane.rpc.timestamps import to_wire
from controlplane.runtime.inflight import Inflight
from controlplane.services.describe_server import ServerDescription
from controlplane.services.watch_fleet import Step


class WatchCodec:
    def __init__(
        self, boot_id: str, inflight: Inflight, residency: Callable[[str], ResidencyHeld | None], clock: Clock
    ) -> None:
        """`residency`: what is held of an engine's prefixes."""
        self._boot_id = boot_id
        self._inflight = inflight
        self._residency = residency
        self._clock = clock
        self._last: tuple[Step, operator_pb2.FleetUpdate] | None = None

    def update(self, step: Step, server: ServerDescription | None) -> operator_pb2.FleetUpdate:
        """The step as an update, with the daemon's own description when there is something new to say of it."""
        if self._last is None or self._last[0] is not step:
            self._last = (step, self._encode(step))
        encoded = self._last[1]
        if server is None:
            return encoded
        copy = operator_pb2.FleetUpdate()
        copy.CopyFrom(encoded)
        copy.server.CopyFrom(server_to_wire(server))
        return copy

    def _encode(self, step: Step) -> operator_pb2.FleetUpdate:
        snapshot, changes, now = step.snapshot, step.changes, self._clock.now()
        everything = changes is None
        nodes = set(snapshot.nodes) & set(snapshot.desired.nodes)
        engines, placements = set(snapshot.engines), set(snapshot.desired.placements)
        models = set(snapshot.models()) | set(snapshot.engines_by_model)
        if changes is not None:
            nodes, engines, placements = (
                nodes & changes.nodes,
                engines & changes.engines,
                placements & changes.placements,
            )
        return operator_pb2.FleetUpdate(
            boot_id=self._boot_id,
            cursor=step.cursor,
            reset=everything,
            now=to_wire(now),
            nodes=[node_to_wire(snapshot, name) for name in sorted(nodes)],
            removed_nodes=sorted(changes.removed_nodes) if changes else (),
            placements=[
                placement_to_wire(snapshot.desired.placements[key], snapshot.engines.get(key))
                for key in sorted(placements)
            ],
            removed_placements=sorted(changes.removed_placements) if changes else (),
            engines=[
                engine_to_wire(snapshot, key, self._inflight, now, self._residency(key)) for key in sorted(engines)
            ],
            removed_engines=sorted(changes.removed_engines) if changes else (),
            models=[model_to_wire(snapshot, model, now) for model in sorted(models)],
            removed_models=sorted(step.removed_models),
            events=[event_to_wire(event) for event in step.events],
        )
