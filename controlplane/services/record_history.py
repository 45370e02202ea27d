"""Put what the fleet is and does into SQL: samples of engines, devices and nodes, recompute bills, summaries.

Called by the fleet store at every swap (`on_change`); `run` samples each node with what is on it once an interval, spread over
the interval so that no decision waits for it. Hands rows to batched writers and never waits for the database.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from controlplane.clock import Clock
from controlplane.fleet.history import DeviceSample, EngineSample, FleetEvent, NodeSample, RecomputeSample
from controlplane.fleet.sampling_turns import turns
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot
from controlplane.fleet.summaries import EngineSummary
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.services.sample_node import OnNodes, SampleNode, SampleRows

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0  # a changed interval is seen so soon


@dataclass(frozen=True, slots=True)
class HistorySinks:
    """Where rows go. None of them may block."""

    samples: Callable[[Sequence[EngineSample]], None]
    devices: Callable[[Sequence[DeviceSample]], None]
    nodes: Callable[[Sequence[NodeSample]], None]
    bills: Callable[[Sequence[RecomputeSample]], None]
    summaries: Callable[[Sequence[EngineSummary]], None]


class RecordHistory:
    def __init__(
        self,
        store: FleetStore,
        inflight: Inflight,
        clock: Clock,
        sinks: HistorySinks,
        interval_seconds: Callable[[], float],
    ) -> None:
        """`interval_seconds` is asked again for each interval."""
        self._store = store
        self._clock = clock
        self._sinks = sinks
        self._interval_seconds = interval_seconds
        self._sample_node = SampleNode(inflight, interval_seconds)

    async def run(self) -> None:
        """Sample until cancelled."""
        began = self._clock.monotonic()
        while True:
            interval = self._interval_seconds()
            snapshot = self._store.snapshot
            self._sample_node.forget_all_but(snapshot)
            on_nodes = OnNodes.of(snapshot)
            for turn in turns(snapshot.desired.nodes, interval):
                if not await self._wait(began + turn.after_seconds, interval):
                    break
                try:
                    self._sample(self._store.snapshot, turn.nodes, on_nodes)
                except Exception:  # a fault in one node's figures must not end the history of all others
                    log.exception("not_sampled", nodes=turn.nodes)
            await self._wait(began + interval, interval)
            # After a pause (a machine that slept) there is nothing to catch up with.
            began = max(began + interval, self._clock.monotonic() - interval)

    def sample(self) -> int:
        """All at once. How many engines had reported since their last row."""
        snapshot = self._store.snapshot
        self._sample_node.forget_all_but(snapshot)
        return self._sample(snapshot, snapshot.desired.nodes, OnNodes.of(snapshot))

    def on_change(self, before: FleetSnapshot, after: FleetSnapshot, _: tuple[FleetEvent, ...]) -> None:
        """A process that ended takes its counters with it: keep its last reading. Keep where engines are, too."""
        now = self._clock.now()
        returned = {
            name
            for name, node in after.nodes.items()
            if node.connected
            and (old_node := before.nodes.get(name)) is not node
            and not (old_node and old_node.connected)
        }
        for name in returned:
            self._sample_node.node_returned(name, now)
        ended = [before.engines[engine_id] for engine_id in before.engines.keys() - after.engines.keys()]
        rows = SampleRows()
        for engine_id, new in after.engines.items():
            old = before.engines.get(engine_id)
            if old is new:
                continue
            if old is not None and new.report.instance_id != old.report.instance_id:
                ended.append(old)
            if new.restored:
                continue
            if old is None or old.restored:
                self._sample_node.appeared(engine_id, now)
            elif new.node in returned:
                self._sample_node.returned(engine_id, now)
            if old is None or _summary_differs(old, new):
                rows.summaries.append(self._sample_node.summary(after, new))
        for engine in ended:
            # By `before`: the provider of a node that was just forgotten is not known any more in `after`.
            self._sample_node.ended(before, engine, now, rows)
        self._hand_on(rows)

    async def _wait(self, until: float, interval: float) -> bool:
        """Until a moment of the monotonic clock. False, early, when the interval is another now."""
        while True:
            left = until - self._clock.monotonic()
            await asyncio.sleep(min(max(left, 0.0), LOOK_SECONDS))
            if self._interval_seconds() != interval:
                return False
            if left <= LOOK_SECONDS:
                return True

    def _sample(self, snapshot: FleetSnapshot, names: Iterable[str], on_nodes: OnNodes) -> int:
        now, rows = self._clock.now(), SampleRows()
        for name in names:
            self._sample_node(snapshot, name, on_nodes, now, rows)
        self._hand_on(rows)
        return len(rows.samples)

    def _hand_on(self, rows: SampleRows) -> None:
        if rows.samples:
            self._sinks.samples(rows.samples)
        if rows.devices:
            self._sinks.devices(rows.devices)
        if rows.nodes:
            self._sinks.nodes(rows.nodes)
        if rows.bills:
            self._sinks.bills(rows.bills)
        if rows.summaries:
            self._sinks.summaries(rows.summaries)


def _summary_differs(old: EngineObserved, new: EngineObserved) -> bool:
    a, b = old.report, new.report
    return (a.state, a.endpoint, a.instance_id, a.generation) != (b.state, b.endpoint, b.instance_id, b.generation)
