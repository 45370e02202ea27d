"""Put what engines report into SQL: samples at an interval, the last reading of every process that ends, summaries.

Called by the fleet store at every swap (`on_change`) and by a job every sample interval (`sample`). Hands rows to batched
writers and never waits for the database.
"""

from collections.abc import Callable
from datetime import datetime

from controlplane.clock import Clock
from controlplane.fleet.hardware import kv_headroom_tokens
from controlplane.fleet.history import EngineSample, FleetEvent
from controlplane.fleet.observed import NodeLocation
from controlplane.fleet.samples import engine_sample
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot
from controlplane.fleet.summaries import EngineSummary
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight


class RecordHistory:
    def __init__(
        self,
        store: FleetStore,
        inflight: Inflight,
        clock: Clock,
        add_samples: Callable[[list[EngineSample]], None],
        add_summaries: Callable[[list[EngineSummary]], None],
    ) -> None:
        self._store = store
        self._inflight = inflight
        self._clock = clock
        self._add_samples = add_samples
        self._add_summaries = add_summaries
        self._sampled: dict[str, datetime] = {}  # engine → received_at of the report that was sampled last

    def on_change(self, before: FleetSnapshot, after: FleetSnapshot, _: tuple[FleetEvent, ...]) -> None:
        """A process that ended takes its counters with it: keep its last reading. Keep where engines are, too."""
        ended: list[EngineObserved] = []
        moved: list[EngineSummary] = []
        for engine_id, old in before.engines.items():
            new = after.engines.get(engine_id)
            if new is old:
                continue
            if new is None or new.report.instance_id != old.report.instance_id:
                ended.append(old)
        for engine_id, new in after.engines.items():
            known = before.engines.get(engine_id)
            if known is not new and not new.restored and (known is None or _summary_differs(known, new)):
                moved.append(_summary(new))
        now = self._clock.now()
        # By `before`: the provider of a node that was just forgotten is not known any more in `after`.
        samples = [self._row(before, engine, now) for engine in ended if self._unsampled(engine)]
        if samples:
            self._add_samples(samples)
        if moved:
            self._add_summaries(moved)

    def sample(self) -> int:
        """One row for each engine that has reported since its last; returns how many."""
        snapshot = self._store.snapshot
        now = self._clock.now()
        heard = [engine for engine in snapshot.engines.values() if self._unsampled(engine)]
        self._add_samples([self._row(snapshot, engine, now) for engine in heard])
        self._add_summaries([_summary(engine) for engine in heard])
        for engine in heard:
            self._sampled[engine.engine_id] = engine.received_at
        for engine_id in self._sampled.keys() - snapshot.engines.keys():
            del self._sampled[engine_id]
        return len(heard)

    def _unsampled(self, engine: EngineObserved) -> bool:
        if engine.restored or not engine.report.instance_id:
            return False
        last = self._sampled.get(engine.engine_id)
        return last is None or engine.received_at > last

    def _row(self, snapshot: FleetSnapshot, engine: EngineObserved, now: datetime) -> EngineSample:
        enrolled = snapshot.desired.nodes.get(engine.node)
        place = enrolled.location if enrolled else NodeLocation("", "")
        inflight = self._inflight.count(engine.engine_id)
        node = snapshot.nodes.get(engine.node)
        headroom = kv_headroom_tokens(node.memory, engine.engine_id) if node else None
        return engine_sample(engine.report, now, engine.node, place.provider, place.region, inflight, headroom)


def _summary(engine: EngineObserved) -> EngineSummary:
    report = engine.report
    return EngineSummary(
        engine_id=report.engine_id,
        node=engine.node,
        model=report.model,
        generation=report.generation,
        instance_id=report.instance_id,
        state=report.state,
        endpoint=report.endpoint,
        last_report_at=engine.received_at,
        served_paths=report.served_paths,
        context_tokens_max=report.context_tokens_max,
        dtype=report.dtype,
        kv_capacity_tokens=report.gauges.kv_capacity_tokens,
    )


def _summary_differs(old: EngineObserved, new: EngineObserved) -> bool:
    a, b = old.report, new.report
    return (a.state, a.endpoint, a.instance_id, a.generation) != (b.state, b.endpoint, b.instance_id, b.generation)
