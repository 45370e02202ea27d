"""What changed between two snapshots, by the one promise that watchers rely on: rows and changes make rows."""

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.fleet.apply import apply
from controlplane.fleet.desired import DesiredState
from controlplane.fleet.diff import Changes, diff
from controlplane.fleet.events import (
    ClockTicked,
    DesiredChanged,
    Event,
    ReportReceived,
    SessionClosed,
    SessionOpened,
    SummariesRestored,
)
from controlplane.fleet.observed import Ceiling, Device, EngineReport, EngineState, NodeFacts
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.fleet.sources import Source
from controlplane.fleet.summaries import EngineSummary
from controlplane.services.describe_engine import describe_engine
from tests.support.fleet import THRESHOLDS, at, counted, desired, enrolled, placed, reported

Rows = dict[str, dict[str, object]]
NOW = at(10_000)

NODES = ("gcp-1", "aws-1")
ENGINES = ("llama@gcp-1", "llama@aws-1", "stray@x")


def node_row(snapshot: FleetSnapshot, name: str) -> object:
    return snapshot.desired.nodes[name], snapshot.nodes[name]


def engine_row(snapshot: FleetSnapshot, engine_id: str) -> object:
    """All that a console shows of an engine, as of a fixed moment."""
    engine = snapshot.engines[engine_id]
    node = snapshot.nodes.get(engine.node)
    described = describe_engine(snapshot, engine, NOW)
    location = snapshot.desired.nodes[engine.node].location
    return engine, node.trust if node else None, described, location


def placement_row(snapshot: FleetSnapshot, placement_id: str) -> object:
    engine = snapshot.engines.get(placement_id)
    return snapshot.desired.placements[placement_id], engine.report.generation if engine else None


def rows_of(snapshot: FleetSnapshot) -> Rows:
    return {
        "nodes": {name: node_row(snapshot, name) for name in snapshot.nodes},
        "engines": {name: engine_row(snapshot, name) for name in snapshot.engines},
        "placements": {name: placement_row(snapshot, name) for name in snapshot.desired.placements},
    }


def followed(rows: Rows, changes: Changes, snapshot: FleetSnapshot) -> Rows:
    """What a watcher makes of an update."""
    after = {kind: dict(found) for kind, found in rows.items()}
    for kind, row, changed, removed in (
        ("nodes", node_row, changes.nodes, changes.removed_nodes),
        ("engines", engine_row, changes.engines, changes.removed_engines),
        ("placements", placement_row, changes.placements, changes.removed_placements),
    ):
        for name in removed:
            after[kind].pop(name, None)
        after[kind].update({name: row(snapshot, name) for name in changed})
    return after


REPORTS: st.SearchStrategy[EngineReport] = st.builds(
    lambda engine_id, state, generation, instance, tokens: reported(
        engine_id,
        state=state,
        generation=generation,
        instance_id=instance,
        counters=counted(tokens),
        device_ids=("d0",),
        dtype="float32",
    ),
    st.sampled_from(ENGINES),
    st.sampled_from([EngineState.READY, EngineState.STARTING, EngineState.STOPPED]),
    st.integers(1, 3),
    st.sampled_from(["i1", "i2"]),
    st.integers(0, 100),
)
ENGINE_SETS = st.lists(REPORTS, max_size=3, unique_by=lambda each: each.engine_id).map(tuple)


DEVICES = st.sampled_from(
    [
        (),
        (Device("d0", "H100", "cuda"),),
        (Device("d0", "H100", "cuda", ceilings=(Ceiling("float32", 1e12, 1e9, Source.MEASURED),)),),
    ]
)


@st.composite
def wanted(draw: st.DrawFn) -> DesiredChanged:
    nodes = draw(st.lists(st.sampled_from(NODES), unique=True))
    placements = [
        placed(placement_id, desired=draw(st.sampled_from(DesiredState)), generation=draw(st.integers(1, 3)))
        for placement_id in ("llama@gcp-1", "llama@aws-1")
        if draw(st.booleans())
    ]
    cordoned = draw(st.booleans())
    return DesiredChanged(desired([enrolled(name, cordoned=cordoned) for name in nodes], placements))


@st.composite
def events(draw: st.DrawFn, moment: datetime) -> Event:
    node = draw(st.sampled_from(NODES))
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return draw(wanted())
    if kind == 1:
        facts = NodeFacts(boot_id=draw(st.sampled_from(["b1", "b2"])), devices=draw(DEVICES))
        return SessionOpened(node, facts, draw(ENGINE_SETS), moment)
    if kind == 2:
        return SessionClosed(node, moment, "gone")
    if kind == 3:
        summary = EngineSummary(f"llama@{node}", node, "llama", 1, "i1", EngineState.READY, "10.0.0.1:1", moment)
        return SummariesRestored((summary,))
    if kind == 4:
        return ClockTicked()
    return ReportReceived(node, draw(ENGINE_SETS), moment, moment, draw(st.none() | DEVICES))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_watcher_who_applies_every_change_ends_with_the_rows_of_the_last_snapshot(data: st.DataObject) -> None:
    snapshot = FleetSnapshot(version=0, at=at(0))
    snapshot, _ = apply(snapshot, [data.draw(wanted())], at(0), THRESHOLDS)
    watched, rows = snapshot, rows_of(snapshot)
    seconds = 0.0
    for _ in range(data.draw(st.integers(1, 12))):
        seconds += data.draw(st.sampled_from([0.0, 1.0, 5.0, 20.0, 70.0]))
        batch: list[Event] = data.draw(st.lists(events(at(seconds)), max_size=3))
        after, _ = apply(snapshot, batch, at(seconds), THRESHOLDS)
        if after is not snapshot:
            assert after.version == snapshot.version + 1
        snapshot = after
        if data.draw(st.booleans()):  # steps may gather several snapshots
            rows = followed(rows, diff(watched, snapshot), snapshot)
            watched = snapshot
            assert rows == rows_of(snapshot)
    rows = followed(rows, diff(watched, snapshot), snapshot)
    assert rows == rows_of(snapshot)
    assert set(snapshot.nodes) == set(snapshot.desired.nodes)
    grouped = {engine_id for ids in snapshot.engines_by_model.values() for engine_id in ids}
    assert grouped == set(snapshot.engines)
    assert {engine.node for engine in snapshot.engines.values()} <= set(snapshot.nodes)


def test_nothing_changed_between_a_snapshot_and_itself() -> None:
    snapshot, _ = apply(FleetSnapshot(0, at(0)), [DesiredChanged(desired([enrolled()], [placed()]))], at(0), THRESHOLDS)
    assert diff(snapshot, snapshot) == Changes()


def test_an_ordinary_report_touches_only_its_node_and_its_engines() -> None:
    before = two_nodes()
    after, _ = apply(before, [ReportReceived("gcp-1", (reported("llama@gcp-1"),), at(1))], at(1), THRESHOLDS)
    assert diff(before, after) == Changes(nodes=frozenset({"gcp-1"}), engines=frozenset({"llama@gcp-1"}))


def two_nodes() -> FleetSnapshot:
    first: list[Event] = [
        DesiredChanged(desired([enrolled("gcp-1"), enrolled("aws-1")], [placed("llama@gcp-1"), placed("llama@aws-1")])),
        ReportReceived("gcp-1", (reported("llama@gcp-1"),), at(0)),
        ReportReceived("aws-1", (reported("llama@aws-1"),), at(0)),
    ]
    return apply(FleetSnapshot(0, at(0)), first, at(0), THRESHOLDS)[0]


def test_an_engine_is_told_when_only_its_placement_changed() -> None:
    before = two_nodes()
    drained = placed("llama@gcp-1", desired=DesiredState.DRAINED, generation=2)
    wanted = desired(before.desired.nodes.values(), [drained, placed("llama@aws-1")])
    after, _ = apply(before, [DesiredChanged(wanted)], at(0), THRESHOLDS)
    only = frozenset({"llama@gcp-1"})
    assert diff(before, after) == Changes(engines=only, placements=only)
    gone, _ = apply(
        after, [DesiredChanged(desired(before.desired.nodes.values(), [placed("llama@aws-1")]))], at(0), THRESHOLDS
    )
    assert diff(after, gone) == Changes(engines=only, removed_placements=only)


def test_a_nodes_engines_are_told_when_its_devices_or_its_cordon_changed() -> None:
    before = two_nodes()
    again = before.engines["llama@gcp-1"].report
    devices = (Device("cuda:0", "H100", "cuda"),)
    measured, _ = apply(before, [SessionClosed("gcp-1", at(0))], at(0), THRESHOLDS)
    assert diff(before, measured).engines == {"llama@gcp-1"}
    told, _ = apply(before, [ReportReceived("gcp-1", (again,), at(0), devices=devices)], at(0), THRESHOLDS)
    assert "llama@gcp-1" in diff(before, told).engines
    nodes = [enrolled("gcp-1", cordoned=True), enrolled("aws-1")]
    wanted = desired(nodes, before.desired.placements.values())
    cordoned, _ = apply(before, [DesiredChanged(wanted)], at(0), THRESHOLDS)
    assert diff(before, cordoned) == Changes(nodes=frozenset({"gcp-1"}), engines=frozenset({"llama@gcp-1"}))
