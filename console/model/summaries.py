"""Sums over engines: of a node, a model, a provider, the fleet. Pure; screens and commands call these on a view's rows.

A sum counts what is known and says how many engines it could not count; a sum of nothing known is None, never 0.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from console.model.fleet_view import EngineRow, EngineState, FleetView, Trust
from console.model.select import TRUST_ORDER, grouped


@dataclass(frozen=True, slots=True)
class Totals:
    engines: int
    ready: int
    routable: int
    kv_capacity_tokens: int | None  # of the engines that tell both their capacity and their use
    kv_used_tokens: int | None
    kv_unknown_count: int  # engines that should hold a KV cache and do not tell
    running: int | None
    waiting: int | None
    inflight: int
    prompt_tokens_per_second: float | None
    generation_tokens_per_second: float | None
    trust: Trust | None  # the worst of the engines'; None: no engine

    @property
    def kv_used_ratio(self) -> float | None:
        if not self.kv_capacity_tokens or self.kv_used_tokens is None:
            return None
        return self.kv_used_tokens / self.kv_capacity_tokens


def totals_of(engines: Iterable[EngineRow]) -> Totals:
    rows = list(engines)
    telling = [row for row in rows if row.kv_used_ratio is not None]
    points = [row.working_point for row in rows if row.working_point is not None]
    alive = [row for row in rows if row.state not in (EngineState.STOPPED, EngineState.FAILED)]
    return Totals(
        engines=len(rows),
        ready=sum(row.state is EngineState.READY for row in rows),
        routable=sum(row.routable for row in rows),
        kv_capacity_tokens=_sum_whole(row.kv_capacity_tokens for row in telling),
        kv_used_tokens=_sum_whole(row.kv_used_tokens for row in telling),
        kv_unknown_count=sum(row.kv_used_ratio is None for row in alive),
        running=_sum_whole(row.running for row in rows),
        waiting=_sum_whole(row.waiting for row in rows),
        inflight=sum(row.inflight for row in rows),
        prompt_tokens_per_second=_sum_real(point.prompt_tokens_per_second for point in points),
        generation_tokens_per_second=_sum_real(point.generation_tokens_per_second for point in points),
        trust=max((row.trust for row in rows), key=TRUST_ORDER.__getitem__, default=None),
    )


def totals_by_node(view: FleetView) -> Mapping[str, Totals]:
    """One entry for every node, also for those without an engine."""
    by_node = grouped(view.engines.values(), lambda engine: engine.node)
    return {name: totals_of(by_node.get(name, ())) for name in {**view.nodes, **by_node}}


def totals_by_model(view: FleetView) -> Mapping[str, Totals]:
    by_model = grouped(view.engines.values(), lambda engine: engine.model)
    return {name: totals_of(by_model.get(name, ())) for name in sorted({*view.models, *by_model})}


def totals_by_provider(view: FleetView) -> Mapping[str, Totals]:
    by_provider = grouped(view.engines.values(), lambda engine: engine.provider)
    providers = {node.provider for node in view.nodes.values()}
    return {name: totals_of(by_provider.get(name, ())) for name in sorted({*providers, *by_provider})}


def _sum_whole(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _sum_real(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
