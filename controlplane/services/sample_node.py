"""Make the rows that history keeps of one node at one moment: its engines, its devices, itself, its tenants' bills.

Called by `services.record_history`, which hands them on. Remembers what it made last, so that nothing is written twice and
every row knows the time that it stands for.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from controlplane.fleet.desired import Placement
from controlplane.fleet.hardware import kv_headroom_tokens
from controlplane.fleet.hardware_samples import Holder, device_holders, device_samples, devices_count, node_sample
from controlplane.fleet.history import DeviceSample, EngineSample, NodeSample, RecomputeSample
from controlplane.fleet.inside import RecomputeBill
from controlplane.fleet.observed import NodeLocation
from controlplane.fleet.samples import engine_sample, recompute_samples
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot
from controlplane.fleet.summaries import EngineSummary, engine_summary
from controlplane.runtime.covered_time import CoveredTime
from controlplane.runtime.inflight import Inflight
from controlplane.services.describe_engine import ceiling_of

BILL_SECONDS = 60.0
_NOWHERE = NodeLocation("", "")


@dataclass(slots=True)
class SampleRows:
    """What was made, kind by kind."""

    samples: list[EngineSample] = field(default_factory=list)
    devices: list[DeviceSample] = field(default_factory=list)
    nodes: list[NodeSample] = field(default_factory=list)
    bills: list[RecomputeSample] = field(default_factory=list)
    summaries: list[EngineSummary] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class OnNodes:
    """Who is on which node: looked up once for many nodes."""

    engines: Mapping[str, Sequence[str]]
    placements: Mapping[str, Sequence[Placement]]

    @classmethod
    def of(cls, snapshot: FleetSnapshot) -> "OnNodes":
        engines: defaultdict[str, list[str]] = defaultdict(list)
        placements: defaultdict[str, list[Placement]] = defaultdict(list)
        for engine_id, engine in snapshot.engines.items():
            engines[engine.node].append(engine_id)
        for placement in snapshot.desired.placements.values():
            placements[placement.node].append(placement)
        return cls(engines, placements)


@dataclass(frozen=True, slots=True)
class _Bills:
    """The bills of one process that were written last."""

    instance_id: str
    bills: tuple[RecomputeBill, ...]
    at: datetime


class SampleNode:
    def __init__(self, inflight: Inflight, interval_seconds: Callable[[], float]) -> None:
        self._inflight = inflight
        self._interval_seconds = interval_seconds
        self._heard: dict[str, datetime] = {}  # engine → received_at of the report that was sampled last
        self._devices_heard: dict[str, datetime] = {}  # node → last_report_at, likewise
        self._bills: dict[str, _Bills] = {}
        self._engine_time = CoveredTime()
        self._device_time = CoveredTime()  # by node
        self._node_time = CoveredTime()

    def __call__(self, snapshot: FleetSnapshot, name: str, on_nodes: OnNodes, now: datetime, rows: SampleRows) -> None:
        enrolled, node = snapshot.desired.nodes.get(name), snapshot.nodes.get(name)
        if enrolled is None or node is None:
            return
        found = map(snapshot.engines.get, on_nodes.engines.get(name, ()))
        engines = [each for each in found if each is not None and each.node == name and not each.restored]
        reports = [engine.report for engine in engines]
        holders = device_holders(node, reports, on_nodes.placements.get(name, ()))
        for engine in engines:
            if self._unsampled(engine):
                self._engine(snapshot, engine, holders, now, rows)
        most = 2 * self._interval_seconds()
        heard_at = node.last_report_at
        if heard_at is not None and heard_at != self._devices_heard.get(name):
            self._devices_heard[name] = heard_at
            rows.devices += device_samples(node, enrolled, holders, now, self._device_time.take(name, now, most))
        covers = self._node_time.take(name, now, most)
        rows.nodes.append(node_sample(node, enrolled, reports, holders, now, covers))

    def ended(self, snapshot: FleetSnapshot, engine: EngineObserved, now: datetime, rows: SampleRows) -> None:
        """A process is no more, as of the snapshot that still has it: its last reading is kept."""
        if self._unsampled(engine):
            self._sample(snapshot, engine, {}, now, rows)
        if engine.report.instance_id and not engine.restored:
            self._bill(snapshot, engine, now, rows)

    def appeared(self, engine_id: str, now: datetime) -> None:
        """We hear of an engine for the first time since we started, or since it was gone."""
        self._engine_time.begin(engine_id, now)

    def returned(self, engine_id: str, now: datetime) -> None:
        """Its node was away and reports again. What it did meanwhile the node's own records tell."""
        self._engine_time.resume(engine_id, now, self._interval_seconds())

    def node_returned(self, name: str, now: datetime) -> None:
        self._device_time.resume(name, now, self._interval_seconds())

    def summary(
        self, snapshot: FleetSnapshot, engine: EngineObserved, holders: Mapping[str, Holder] | None = None
    ) -> EngineSummary:
        ceiling = ceiling_of(snapshot, engine)
        node = snapshot.nodes.get(engine.node)
        return engine_summary(
            engine,
            _location(snapshot, engine),
            devices_count(engine.report, holders or {}),
            self._inflight.count(engine.engine_id),
            kv_headroom_tokens(node.memory, engine.engine_id) if node else None,
            ceiling.ridge_flops_per_byte if ceiling else None,
        )

    def forget_all_but(self, snapshot: FleetSnapshot) -> None:
        """What is not there any more will not be sampled."""
        for known in (self._heard, self._bills):
            for engine_id in known.keys() - snapshot.engines.keys():
                del known[engine_id]
        for name in self._devices_heard.keys() - snapshot.desired.nodes.keys():
            del self._devices_heard[name]
        self._engine_time.forget_all_but(snapshot.engines)
        self._device_time.forget_all_but(snapshot.desired.nodes)
        self._node_time.forget_all_but(snapshot.desired.nodes)

    def _unsampled(self, engine: EngineObserved) -> bool:
        if engine.restored or not engine.report.instance_id:
            return False
        last = self._heard.get(engine.engine_id)
        return last is None or engine.received_at > last

    def _engine(
        self,
        snapshot: FleetSnapshot,
        engine: EngineObserved,
        holders: Mapping[str, Holder],
        now: datetime,
        rows: SampleRows,
    ) -> None:
        self._sample(snapshot, engine, holders, now, rows)
        rows.summaries.append(self.summary(snapshot, engine, holders))
        billed = self._bills.get(engine.engine_id)
        # A little early rather than an interval late.
        due = BILL_SECONDS - self._interval_seconds() / 2
        if billed is None or (now - billed.at).total_seconds() >= due:
            self._bill(snapshot, engine, now, rows)

    def _sample(
        self,
        snapshot: FleetSnapshot,
        engine: EngineObserved,
        holders: Mapping[str, Holder],
        now: datetime,
        rows: SampleRows,
    ) -> None:
        engine_id, place, node = engine.engine_id, _location(snapshot, engine), snapshot.nodes.get(engine.node)
        self._heard[engine_id] = engine.received_at
        rows.samples.append(
            engine_sample(
                engine.report,
                now,
                engine.node,
                place.provider,
                place.region,
                self._inflight.count(engine_id),
                kv_headroom_tokens(node.memory, engine_id) if node else None,
                self._engine_time.take(engine_id, now, 2 * self._interval_seconds()),
                devices_count(engine.report, holders),
            )
        )

    def _bill(self, snapshot: FleetSnapshot, engine: EngineObserved, now: datetime, rows: SampleRows) -> None:
        report, place = engine.report, _location(snapshot, engine)
        if not report.recompute:
            return
        billed = self._bills.get(engine.engine_id)
        same = billed is not None and billed.instance_id == report.instance_id
        written = billed.bills if billed is not None and same else ()
        rows.bills += recompute_samples(report, now, engine.node, place.provider, place.region, written)
        self._bills[engine.engine_id] = _Bills(report.instance_id, report.recompute, now)


def _location(snapshot: FleetSnapshot, engine: EngineObserved) -> NodeLocation:
    enrolled = snapshot.desired.nodes.get(engine.node)
    return enrolled.location if enrolled else _NOWHERE
