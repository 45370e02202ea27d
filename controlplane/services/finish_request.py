"""Take in how a request ended, from the gateway's access log: correct what is in flight where, and count it.

Called by `rpc.access_log` for every request, admitted or not.
"""

from controlplane.fleet.history import FleetEvent
from controlplane.fleet.requests import RequestEnd
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.runtime.deployed_models import DeployedModels
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.runtime.request_counts import Place, RequestCounts
from controlplane.services.count_admission import CountAdmission


class FinishRequest:
    def __init__(
        self,
        store: FleetStore,
        inflight: Inflight,
        counts: RequestCounts | None = None,
        admission: CountAdmission | None = None,
    ) -> None:
        self._store = store
        self._inflight = inflight
        self._counts = RequestCounts() if counts is None else counts
        self._admission = admission
        self._deployed = DeployedModels()

    def __call__(self, end: RequestEnd) -> None:
        engine_id = self._engine_at(end.endpoint, end.model) if end.endpoint else None
        self._inflight.ended(end.request_id, engine_id, end.duration_seconds if end.status < 400 else None)
        model = self._deployed.label(self._store.snapshot, end.model)
        self._counts.ended(model, self._place_of(engine_id), end)
        if self._admission is not None:
            self._admission.ended(model, end)

    def on_change(self, before: FleetSnapshot, after: FleetSnapshot, _: tuple[FleetEvent, ...]) -> None:
        """What was learned of an engine's speed goes with the engine."""
        for engine_id in before.engines.keys() - after.engines.keys():
            self._inflight.forget_engine(engine_id)

    def _place_of(self, engine_id: str | None) -> Place:
        snapshot = self._store.snapshot
        node = None if engine_id is None else snapshot.desired.nodes.get(snapshot.engines[engine_id].node)
        return Place() if node is None else Place(node.location.provider, node.location.region)

    def _engine_at(self, endpoint: str, model: str) -> str | None:
        """Which engine answered, since the gateway may have fallen to another than the first we named."""
        snapshot = self._store.snapshot
        for engine_id in snapshot.engines_by_model.get(model, ()):
            if snapshot.engines[engine_id].report.endpoint == endpoint:
                return engine_id
        return None
