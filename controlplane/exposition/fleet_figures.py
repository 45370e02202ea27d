"""One pass over a snapshot, to figures by model, provider and region. Called by `page`, in a thread, one call at a time.

Engines and nodes never become names here: there may be ten thousand. Figures of nodes that are lost are left out (their
engines are still counted by state); what no engine of a group tells is None, and is then not exported at all. What seldom
changes of an engine is kept from one pass to the next, since a pass must not take long.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controlplane.exposition.engine_rows import REASONS, STATES, TRUSTS, EngineRow, refreshed
from controlplane.fleet.hardware import MemoryUse, kv_headroom_tokens
from controlplane.fleet.observed import Severity
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot, NodeObserved
from controlplane.runtime.deployed_models import DeployedModels
from controlplane.runtime.engine_totals import Group

KINDS_MAX = 100  # of devices: nodes tell these names, and a node may tell nonsense
OTHER_KIND = "other"


@dataclass(slots=True)
class GroupFigures:
    """The lists count engines, in the order of STATES, TRUSTS and REASONS."""

    states: list[int] = field(default_factory=lambda: [0] * len(STATES))
    trusts: list[int] = field(default_factory=lambda: [0] * len(TRUSTS))
    unroutable: list[int] = field(default_factory=lambda: [0] * len(REASONS))
    kv_capacity_tokens: int | None = None
    kv_used_tokens: int | None = None
    kv_headroom_tokens: int | None = None
    running: int | None = None
    waiting: int | None = None
    inflight: int = 0
    resident_chunks: int | None = None
    peak_flops_per_second: float | None = None
    peak_bytes_per_second: float | None = None


@dataclass(slots=True)
class PlaceFigures:
    """Of one provider and region."""

    nodes: Counter[str] = field(default_factory=Counter)
    cordoned: int = 0
    devices: Counter[str] = field(default_factory=Counter)
    faults: dict[Severity, int] = field(default_factory=dict)
    memory_bytes: dict[MemoryUse, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FleetFigures:
    groups: dict[Group, GroupFigures]
    places: dict[tuple[str, str], PlaceFigures]
    engines: dict[str, tuple[Group, EngineObserved]]  # by id, for `EngineTotals.take`


class FleetLook:
    def __init__(self) -> None:
        self._rows: dict[str, EngineRow] = {}
        self._deployed = DeployedModels()

    def __call__(self, snapshot: FleetSnapshot, inflight: Mapping[str, int], now: datetime) -> FleetFigures:
        """`inflight`: requests by engine id, as the gateway tells."""
        models, before = self._deployed.of(snapshot), self._rows
        rows: dict[str, EngineRow] = {}
        groups: dict[Group, GroupFigures] = {}
        grouped: dict[str, tuple[Group, EngineObserved]] = {}
        for engine_id, engine in snapshot.engines.items():
            row = rows[engine_id] = refreshed(before.get(engine_id), snapshot, engine, models, now)
            figures = groups.get(row.group)
            if figures is None:
                figures = groups[row.group] = GroupFigures()
            grouped[engine_id] = row.group, engine
            figures.inflight += inflight.get(engine_id, 0)
            _add(figures, row, engine, snapshot.nodes.get(engine.node))
        self._rows = rows
        return FleetFigures(groups, _places(snapshot), grouped)


def _add(figures: GroupFigures, row: EngineRow, engine: EngineObserved, node: NodeObserved | None) -> None:
    """Written out, since it is done for every engine. A sum stays None as long as nobody tells."""
    figures.states[row.state_at] += 1
    figures.trusts[row.trust_at] += 1
    if row.reason_at is not None:
        figures.unroutable[row.reason_at] += 1
    if node is None or node.lost:
        return
    report = engine.report
    gauges = report.gauges
    if gauges.kv_capacity_tokens is not None:
        figures.kv_capacity_tokens = (figures.kv_capacity_tokens or 0) + gauges.kv_capacity_tokens
    if gauges.kv_used_tokens is not None:
        figures.kv_used_tokens = (figures.kv_used_tokens or 0) + gauges.kv_used_tokens
    if gauges.running is not None:
        figures.running = (figures.running or 0) + gauges.running
    if gauges.waiting is not None:
        figures.waiting = (figures.waiting or 0) + gauges.waiting
    if node.memory:
        headroom = kv_headroom_tokens(node.memory, report.engine_id)
        if headroom is not None:
            figures.kv_headroom_tokens = (figures.kv_headroom_tokens or 0) + headroom
    if report.residency is not None:
        figures.resident_chunks = (figures.resident_chunks or 0) + report.residency.chunks
    if row.peak_flops_per_second:
        figures.peak_flops_per_second = (figures.peak_flops_per_second or 0.0) + row.peak_flops_per_second
        figures.peak_bytes_per_second = (figures.peak_bytes_per_second or 0.0) + row.peak_bytes_per_second


def _places(snapshot: FleetSnapshot) -> dict[tuple[str, str], PlaceFigures]:
    places: dict[tuple[str, str], PlaceFigures] = {}
    kinds: set[str] = set()
    for name, enrolled in snapshot.desired.nodes.items():
        key = enrolled.location.provider, enrolled.location.region
        place = places.get(key)
        if place is None:
            place = places[key] = PlaceFigures()
        if enrolled.cordoned:
            place.cordoned += 1
        node = snapshot.nodes.get(name)
        if node is not None:
            _add_node(place, node, kinds)
    return places


def _add_node(place: PlaceFigures, node: NodeObserved, kinds: set[str]) -> None:
    place.nodes["lost" if node.lost else "connected" if node.connected else "disconnected"] += 1
    for device in node.facts.devices:
        if device.kind not in kinds and len(kinds) < KINDS_MAX:
            kinds.add(device.kind)
        place.devices[device.kind if device.kind in kinds else OTHER_KIND] += 1
    if node.lost:
        return
    for health in node.health:
        for fault in health.faults:
            place.faults[fault.severity] = place.faults.get(fault.severity, 0) + 1
    memory = place.memory_bytes
    for ledger in node.memory:
        for portion in ledger.portions:
            memory[portion.use] = memory.get(portion.use, 0) + portion.bytes
