"""Sum a model's engines up: how many, how many take requests, how full their KV caches are. Pure.

Called by `rpc.fleet_codec`. A sum of which one part is unknown is the sum of the known parts only when the unknown engine cannot
hold any (it is not up); otherwise it is unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.observed import EngineState
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.policies.routing.candidates import candidate
from controlplane.policies.routing.filters import reject

_UP = {EngineState.READY, EngineState.DRAINING}


@dataclass(frozen=True, slots=True)
class ModelDescription:
    engines_total: int
    engines_routable: int
    kv_capacity_tokens: int | None
    kv_used_tokens: int | None
    waiting: int | None
    providers: tuple[str, ...]


def describe_model(snapshot: FleetSnapshot, model: str, now: datetime) -> ModelDescription:
    """The model as of `now`; zero engines when nothing of it runs."""
    engines = [snapshot.engines[engine_id] for engine_id in snapshot.engines_by_model.get(model, ())]
    gauges = [engine.report.gauges for engine in engines if engine.report.state in _UP]
    candidates = [candidate(snapshot, engine.engine_id, now) for engine in engines]
    return ModelDescription(
        engines_total=len(engines),
        engines_routable=sum(reject(item) is None for item in candidates),
        kv_capacity_tokens=_sum(item.kv_capacity_tokens for item in gauges),
        kv_used_tokens=_sum(item.kv_used_tokens for item in gauges),
        waiting=_sum(item.waiting for item in gauges),
        providers=tuple(sorted({item.provider for item in candidates if item.provider})),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    if not known or any(value is None for value in known):
        return None
    return sum(value for value in known if value is not None)
