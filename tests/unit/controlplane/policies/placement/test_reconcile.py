"""Desired against observed: the plan, and where following it leads."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.fleet.desired import DesiredState, Placement
from controlplane.fleet.observed import EngineReport, EngineState
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot, NodeObserved
from controlplane.policies.placement.reconcile import AdapterCommand, Plan, StartCommand, StopCommand, reconcile
from tests.support.clock import START
from tests.support.fleet import desired, enrolled, placed, reported


@dataclass
class World:
    """Nodes that carry commands out as agents do: an id once, in order of arrival, refusing older generations."""

    placements: dict[str, Placement]
    engines: dict[str, tuple[str, EngineReport]]  # engine → node, what it reports
    connected: dict[str, bool]
    heard: bool = False  # nodes that are not connected have reported before
    carried_out: set[str] = field(default_factory=set)
    starts: list[tuple[str, int]] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)

    def snapshot(self) -> FleetSnapshot:
        return FleetSnapshot(
            version=1,
            at=START,
            desired=desired([enrolled(name) for name in self.connected], self.placements.values()),
            nodes={
                name: NodeObserved(
                    name, connected=up, heard_since_boot=self.heard or up, last_report_at=START if up else None
                )
                for name, up in self.connected.items()
            },
            engines={engine_id: EngineObserved(told, node, START) for engine_id, (node, told) in self.engines.items()},
        )

    def follow(self, plan: Plan) -> None:
        for command in plan.commands:
            assert self.connected[command.node], "a command for a node that is not there"
            if command.command_id in self.carried_out:
                continue
            self.carried_out.add(command.command_id)
            assert not isinstance(command, AdapterCommand), "nobody here asked for an adapter"
            self._carry_out(command)
        for placement_id in plan.finished:
            removals = [
                c for c in plan.commands if isinstance(c, StopCommand) and c.engine_id == placement_id and c.forget
            ]
            if all(command.command_id in self.carried_out for command in removals):
                del self.placements[placement_id]

    def _carry_out(self, command: StartCommand | StopCommand) -> None:
        if isinstance(command, StartCommand):
            placement = command.placement
            self.touched.add(placement.placement_id)
            self.starts.append((placement.placement_id, placement.generation))
            told = reported(placement.placement_id, generation=placement.generation, state=EngineState.STARTING)
            self.engines[placement.placement_id] = (command.node, told)
            return
        self.touched.add(command.engine_id)
        if command.engine_id not in self.engines:
            return
        if command.forget:
            del self.engines[command.engine_id]
        else:
            node, told = self.engines[command.engine_id]
            self.engines[command.engine_id] = (node, replace(told, state=EngineState.STOPPED))


NODES = ("gcp-1", "aws-1")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    placements, engines = {}, {}
    for node in NODES:
        for ordinal in ("", ".2"):
            name = f"llama@{node}{ordinal}"
            if draw(st.booleans()):
                generation = draw(st.integers(1, 3))
                placements[name] = placed(
                    name, node=node, generation=generation, desired=draw(st.sampled_from(DesiredState))
                )
            if draw(st.booleans()):
                engines[name] = (
                    node,
                    reported(name, generation=draw(st.integers(1, 3)), state=draw(st.sampled_from(EngineState))),
                )
    return World(placements, engines, {node: draw(st.booleans()) for node in NODES}, draw(st.booleans()))


@settings(max_examples=400, deadline=None)
@given(worlds())
def test_following_the_plan_ends_where_nothing_is_left_to_do(world: World) -> None:
    wanted, strays = dict(world.placements), set(world.engines) - set(world.placements)
    for _ in range(6):
        world.follow(reconcile(world.snapshot(), 600.0))
    final = reconcile(world.snapshot(), 600.0)
    assert final.finished == ()
    assert all(command.command_id in world.carried_out for command in final.commands), "nothing new is commanded"
    assert len(world.starts) == len(set(world.starts)), "nothing is started twice"
    assert not strays & world.touched, "what nobody placed is left alone"
    for placement_id, placement in wanted.items():
        if not world.connected[placement.node]:
            assert world.placements[placement_id] == placement
            continue
        engine = world.engines.get(placement_id)
        if placement.desired is DesiredState.RUNNING:
            assert engine is not None
            assert engine[1].generation >= placement.generation
        elif placement.desired is DesiredState.DRAINED:
            assert engine is None or engine[1].state in {EngineState.STOPPED, EngineState.FAILED}
        else:
            assert engine is None
            assert placement_id not in world.placements


def one(placement: Placement | None, engine: EngineReport | None, *, connected: bool = True) -> Plan:
    world = World({}, {}, {"gcp-1": connected})
    if placement is not None:
        world.placements[placement.placement_id] = placement
    if engine is not None:
        world.engines[engine.engine_id] = ("gcp-1", engine)
    return reconcile(world.snapshot(), 600.0)


def test_a_placement_without_an_engine_is_started() -> None:
    [command] = one(placed(), None).commands
    assert isinstance(command, StartCommand)
    assert (command.node, command.placement) == ("gcp-1", placed())


@pytest.mark.parametrize("state", EngineState)
def test_an_engine_of_the_wanted_generation_is_left_to_its_agent(state: EngineState) -> None:
    assert one(placed(generation=2), reported(generation=2, state=state)) == Plan()
    [command] = one(placed(generation=3), reported(generation=2, state=state)).commands
    assert isinstance(command, StartCommand)


@pytest.mark.parametrize("state", EngineState)
def test_a_drained_placement_stops_what_runs_and_stays(state: EngineState) -> None:
    plan = one(placed(desired=DesiredState.DRAINED, generation=2, drain_seconds_max=5.0), reported(state=state))
    assert plan.finished == ()
    if state in {EngineState.STOPPED, EngineState.FAILED}:
        assert plan.commands == ()
    else:
        [command] = plan.commands
        assert isinstance(command, StopCommand)
        assert (command.engine_id, command.generation, command.forget) == ("llama@gcp-1", 2, False)
        assert command.drain_seconds_max == 5.0


def test_the_daemons_limit_holds_where_none_was_told() -> None:
    [command] = one(placed(desired=DesiredState.REMOVED), reported()).commands
    assert isinstance(command, StopCommand)
    assert (command.drain_seconds_max, command.forget) == (600.0, True)


def test_a_removal_is_commanded_though_no_engine_shows_for_a_start_may_be_under_way() -> None:
    plan = one(placed(desired=DesiredState.REMOVED, generation=2), None)
    [command] = plan.commands
    assert isinstance(command, StopCommand)
    assert command.forget
    assert plan.finished == ("llama@gcp-1",)


def test_an_engine_that_nobody_placed_is_never_stopped() -> None:
    assert one(None, reported()) == Plan()


@pytest.mark.parametrize("state", DesiredState)
def test_a_node_that_is_not_connected_gets_no_commands(state: DesiredState) -> None:
    assert one(placed(desired=state), reported(generation=0), connected=False) == Plan()
    assert one(placed(desired=state), None, connected=False) == Plan()


@pytest.mark.parametrize("state", DesiredState)
def test_nor_does_one_that_was_connected_before(state: DesiredState) -> None:
    world = World({"llama@gcp-1": placed(desired=state)}, {}, {"gcp-1": False}, heard=True)
    assert reconcile(world.snapshot(), 600.0) == Plan()


def test_a_removed_placement_of_a_node_that_is_gone_is_finished() -> None:
    lost = placed(desired=DesiredState.REMOVED)
    snapshot = FleetSnapshot(1, START, desired=desired([], [lost, placed("llama@aws-1")]))
    assert reconcile(snapshot, 600.0) == Plan(finished=("llama@gcp-1",))


def test_ids_are_the_same_each_time_and_others_for_what_differs() -> None:
    def command_id(placement: Placement, engine: EngineReport | None = None) -> str:
        [command] = one(placement, engine).commands
        return command.command_id

    assert command_id(placed()) == command_id(placed())
    again = placed(created_at=START + timedelta(seconds=1))
    ids = {
        command_id(placed()),
        command_id(placed(generation=2)),
        command_id(again),
        command_id(placed(desired=DesiredState.REMOVED)),
        command_id(placed(desired=DesiredState.DRAINED), reported()),
    }
    assert len(ids) == 5, "an agent carries an id out once: a placement of the same name must not share it"
    assert all(found.split("/")[0] == "llama@gcp-1" for found in ids)
