"""Events in, the next snapshot out: the one function that changes the fleet's state. Pure.

Called by `runtime.fleet_store` with a batch a tick, and by the simulation. Returns the notable things too, for the event log.
It never forgets an engine because its node is silent: silence makes trust fall, only a report or an operator removes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from controlplane.fleet import notable
from controlplane.fleet.brake import is_suspect
from controlplane.fleet.desired import Desired
from controlplane.fleet.events import (
    ClockTicked,
    DesiredChanged,
    Event,
    ReportReceived,
    SessionClosed,
    SessionOpened,
    SummariesRestored,
)
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.inside import InsideState
from controlplane.fleet.observed import EngineReport, Trust
from controlplane.fleet.rates import StepsWindow, working_point
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot, NodeObserved, Reading, TrustThresholds
from controlplane.fleet.summaries import EngineSummary

T = TypeVar("T")

WINDOW_SECONDS = 10.0  # what a working point looks back on


class _Draft:
    """A snapshot in the making: copies a mapping only when something in it changes."""

    def __init__(self, base: FleetSnapshot) -> None:
        self.base = base
        self.desired = base.desired
        self.nodes: dict[str, NodeObserved] = dict(base.nodes)
        self.engines: dict[str, EngineObserved] = dict(base.engines)
        self.notables: list[FleetEvent] = []
        self._on_node: dict[str, set[str]] | None = None

    def on_node(self, node: str) -> set[str]:
        """Ids of the node's engines. Looked for once for all reports of a batch: a node has few of thousands."""
        if self._on_node is None:
            self._on_node = {}
            for engine_id, engine in self.engines.items():
                self._on_node.setdefault(engine.node, set()).add(engine_id)
        return self._on_node.setdefault(node, set())

    def put_engine(self, engine: EngineObserved) -> None:
        before = self.engines.get(engine.engine_id)
        if before is None or before.node != engine.node:
            if before is not None:
                self.on_node(before.node).discard(engine.engine_id)
            self.on_node(engine.node).add(engine.engine_id)
        self.engines[engine.engine_id] = engine

    def remove_engine(self, engine_id: str) -> EngineObserved:
        engine = self.engines.pop(engine_id)
        self.on_node(engine.node).discard(engine_id)
        return engine


def apply(
    snapshot: FleetSnapshot, events: Iterable[Event], now: datetime, thresholds: TrustThresholds
) -> tuple[FleetSnapshot, tuple[FleetEvent, ...]]:
    """The snapshot after `events`, with ages as of `now`, and what is worth telling."""
    draft = _Draft(snapshot)
    for event in events:
        match event:
            case DesiredChanged(desired):
                draft.desired = _desired(draft.desired, desired)
                _forget_unenrolled(draft)
            case SummariesRestored(summaries):
                _restore(draft, summaries, now, thresholds)
            case SessionOpened():
                _session_opened(draft, event)
            case ReportReceived():
                _report(draft, event)
            case SessionClosed():
                _session_closed(draft, event)
            case ClockTicked():
                pass
    _age(draft, now, thresholds)
    return _finish(draft, now)


def _finish(draft: _Draft, now: datetime) -> tuple[FleetSnapshot, tuple[FleetEvent, ...]]:
    base = draft.base
    nodes: Mapping[str, NodeObserved] = draft.nodes
    engines: Mapping[str, EngineObserved] = draft.engines
    serving = {engine.node for engine in engines.values()}
    suspect = is_suspect(node for name, node in nodes.items() if node.heard_since_boot or name in serving)
    if suspect != base.suspect:
        draft.notables.append(notable.brake(on=suspect, at=now))
    if nodes == base.nodes and engines == base.engines and draft.desired is base.desired and suspect == base.suspect:
        return base, tuple(draft.notables)
    by_model = base.engines_by_model
    if engines.keys() != base.engines.keys() or any(
        engine.report.model != base.engines[engine_id].report.model for engine_id, engine in engines.items()
    ):
        grouped: dict[str, list[str]] = {}
        for engine_id, engine in sorted(engines.items()):
            grouped.setdefault(engine.report.model, []).append(engine_id)
        by_model = {model: tuple(ids) for model, ids in grouped.items()}
    after = FleetSnapshot(base.version + 1, now, draft.desired, nodes, engines, by_model, suspect)
    return after, tuple(draft.notables)


def _desired(old: Desired, new: Desired) -> Desired:
    """`new`, with the old objects where they are equal: what did not change stays the same object."""
    return Desired(
        nodes={name: _kept(old.nodes.get(name), node) for name, node in new.nodes.items()},
        deployments={name: _kept(old.deployments.get(name), item) for name, item in new.deployments.items()},
        placements={name: _kept(old.placements.get(name), item) for name, item in new.placements.items()},
    )


def _kept(old: T | None, new: T) -> T:
    return old if old is not None and old == new else new


def _forget_unenrolled(draft: _Draft) -> None:
    for name in draft.nodes.keys() - draft.desired.nodes.keys():
        del draft.nodes[name]
    for name in draft.desired.nodes.keys() - draft.nodes.keys():
        draft.nodes[name] = NodeObserved(name)
    for engine_id, engine in list(draft.engines.items()):
        if engine.node not in draft.nodes:
            draft.remove_engine(engine_id)


def _restore(draft: _Draft, summaries: tuple[EngineSummary, ...], now: datetime, thresholds: TrustThresholds) -> None:
    """Take what was last known as ageing: good enough to route by until the agents report again.

    Ages stood still while nobody listened. A node that had been lost by then, beside others that were heard, is lost still.
    """
    heard: dict[str, datetime] = {}
    for summary in summaries:
        heard[summary.node] = max(summary.last_report_at, heard.get(summary.node, summary.last_report_at))
    last = max(heard.values(), default=now)
    for summary in summaries:
        silent = last - heard[summary.node]
        node = draft.nodes.get(summary.node)
        placed = summary.engine_id in draft.desired.placements
        if node is None or node.heard_since_boot or summary.engine_id in draft.engines or not placed:
            continue
        received_at = now - silent if thresholds.lost(silent) else now
        draft.put_engine(EngineObserved(summary.as_report(), summary.node, received_at, restored=True))


def _session_opened(draft: _Draft, event: SessionOpened) -> None:
    node = draft.nodes.get(event.node)
    if node is None:
        return  # forgotten by an operator between the handshake and now
    same_boot = event.facts.boot_id == node.facts.boot_id
    draft.nodes[event.node] = replace(
        node,
        facts=event.facts,
        connected=True,
        health=node.health if same_boot else (),
        memory=node.memory if same_boot else (),
    )
    draft.notables.append(notable.node_connected(event.node, event.received_at, event.facts.agent_version))
    _report(draft, ReportReceived(event.node, event.engines, event.received_at))


def _session_closed(draft: _Draft, event: SessionClosed) -> None:
    node = draft.nodes.get(event.node)
    if node is None or not node.connected:
        return
    draft.nodes[event.node] = replace(node, connected=False)
    draft.notables.append(notable.node_disconnected(event.node, event.received_at, event.reason))


def _report(draft: _Draft, event: ReportReceived) -> None:
    node = draft.nodes.get(event.node)
    if node is None:
        return
    facts = node.facts if event.devices is None else replace(node.facts, devices=event.devices)
    error = node.clock_error_seconds
    if event.sent_at is not None:
        error = (event.sent_at - event.received_at).total_seconds()
    draft.nodes[event.node] = replace(
        node,
        facts=facts,
        connected=True,
        last_report_at=event.received_at,
        clock_error_seconds=error,
        heard_since_boot=True,
        health=node.health if event.health is None else event.health,
        memory=node.memory if event.memory is None else event.memory,
    )
    reported = {report.engine_id for report in event.engines}
    for engine_id in sorted(draft.on_node(event.node) - reported):
        engine = draft.remove_engine(engine_id)
        if not engine.restored:
            draft.notables.append(notable.engine_gone(engine, event.received_at))
    for report in event.engines:
        _engine(draft, event.node, report, event.received_at)


def _engine(draft: _Draft, node: str, report: EngineReport, received_at: datetime) -> None:
    before = draft.engines.get(report.engine_id)
    if before is not None and before.node != node:
        # Two nodes claim one engine: believe the one where it is placed, else the one that had it while it is there.
        placement = draft.desired.placements.get(report.engine_id)
        holder = draft.nodes.get(before.node)
        if placement.node != node if placement is not None else holder is not None and holder.connected:
            return
        before = None
    # Of what was restored, the same process in the same state is no news: it was told before we started again.
    same = before is not None and (not before.restored or before.report.instance_id == report.instance_id)
    known = before.report.state if before is not None and same else None
    if known is not report.state:
        draft.notables.append(notable.engine_state(node, report, received_at))
    readings = _readings(before, report)
    point = None
    if len(readings) > 1:
        window = (readings[-1].measured_at - readings[0].measured_at).total_seconds()
        point = working_point(readings[-1].counters, readings[0].counters, window, _steps_window(readings))
    draft.put_engine(EngineObserved(report, node, received_at, point, readings))


def _readings(before: EngineObserved | None, report: EngineReport) -> tuple[Reading, ...]:
    kept: tuple[Reading, ...] = ()
    if before is not None and before.report.instance_id == report.instance_id:
        kept = before.readings
    if report.measured_at is None:
        return kept
    if kept and report.measured_at == kept[-1].measured_at:
        return kept  # the same reading again
    if kept and report.measured_at < kept[-1].measured_at:
        kept = ()  # the node's clock went back: a window across that would have no length
    # A difference, since a node's clock may stand at a time before which there is none.
    window = timedelta(seconds=WINDOW_SECONDS)
    young = (reading for reading in kept if report.measured_at - reading.measured_at <= window)
    # A plug-in that is not sure of what it sees is not heard: the engine's own metrics are.
    inside = report.inside if report.inside is not None and report.inside.state is InsideState.ACTIVE else None
    steps, steps_at = (inside.steps, inside.measured_at) if inside is not None else (None, None)
    return (*young, Reading(report.measured_at, report.counters, steps, steps_at))


def _steps_window(readings: tuple[Reading, ...]) -> StepsWindow | None:
    """The plug-in's first and last totals within the readings; None when it told fewer than two."""
    told = [(each.steps_at, each.steps) for each in readings if each.steps is not None and each.steps_at is not None]
    if len(told) < 2:
        return None
    (since, old), (until, new) = told[0], told[-1]
    return StepsWindow(new, old, (until - since).total_seconds())


def _age(draft: _Draft, now: datetime, thresholds: TrustThresholds) -> None:
    restored_at: dict[str, datetime] = {}  # of each node with restored engines, the oldest
    for engine in draft.engines.values():
        if engine.restored:
            restored_at[engine.node] = min(engine.received_at, restored_at.get(engine.node, engine.received_at))
    for name, node in draft.nodes.items():
        if node.last_report_at is not None:
            age = now - node.last_report_at
            trust, lost, written_off = thresholds.trust(age), thresholds.lost(age), thresholds.written_off(age)
        elif name in restored_at:
            age = now - restored_at[name]
            trust = max(thresholds.trust(age), Trust.AGEING, key=list(Trust).index)
            lost, written_off = thresholds.lost(age), thresholds.written_off(age)
        else:
            trust, lost, written_off = Trust.STALE, node.lost, node.written_off
        if (trust, lost, written_off) == (node.trust, node.lost, node.written_off):
            continue
        changed = replace(node, trust=trust, lost=lost, written_off=written_off)
        draft.nodes[name] = changed
        # Beside what the last snapshot knew: a first report is no recovery.
        draft.notables.extend(notable.node_trust(draft.base.nodes.get(name, NodeObserved(name)), changed, now))
