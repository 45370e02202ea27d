"""Take in how a request ended, from the gateway's access log: correct what is in flight where.

Called by `rpc.access_log` for every request, admitted or not. Request rollups for history join here.
"""

from controlplane.fleet.history import FleetEvent
from controlplane.fleet.requests import RequestEnd
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight


class FinishRequest:
    def __init__(self, store: FleetStore, inflight: Inflight) -> None:
        self._store = store
        self._inflight = inflight

    def __call__(self, end: RequestEnd) -> None:
        engine_id = self._engine_at(end.endpoint, end.model) if end.endpoint else None
        self._inflight.ended(end.request_id, engine_id, end.duration_seconds if end.status < 400 else None)

    def on_change(self, before: FleetSnapshot, after: FleetSnapshot, _: tuple[FleetEvent, ...]) -> None:
        """What was learned of an engine's speed goes with the engine."""
        for engine_id in before.engines.keys() - after.engines.keys():
            self._inflight.forget_engine(engine_id)

    def _engine_at(self, endpoint: str, model: str) -> str | None:
        """Which engine answered, since the gateway may have fallen to another than the first we named."""
        snapshot = self._store.snapshot
        for engine_id in snapshot.engines_by_model.get(model, ()):
            if snapshot.engines[engine_id].report.endpoint == endpoint:
                return engine_id
        return None
