"""Desired against observed, to a plan of commands. Pure; called by `services.reconcile_fleet` after every change.

Level-triggered: the plan is made from the whole state each time, never from what happened; a command that was lost is simply
planned again, with the same id, and agents carry an id out once. It never plans for a node that is not connected, and never
stops an engine that no placement names (a database restored from a backup must not empty the fleet): such an engine gets no
requests, is shown as it is, and an operator removes it by name.
"""

from dataclasses import dataclass

from controlplane.fleet.desired import Adapter, DesiredState, Placement
from controlplane.fleet.node_commands import COMMANDS_CAPABILITY
from controlplane.fleet.observed import EngineState
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot

_GONE = {EngineState.STOPPED, EngineState.FAILED}


@dataclass(frozen=True, slots=True)
class StartCommand:
    command_id: str
    node: str
    placement: Placement


@dataclass(frozen=True, slots=True)
class StopCommand:
    command_id: str
    node: str
    engine_id: str
    generation: int
    drain_seconds_max: float
    forget: bool


@dataclass(frozen=True, slots=True)
class AdapterCommand:
    """Load an adapter into an engine, or unload it, as `adapter.wanted` says."""

    command_id: str
    node: str
    engine_id: str
    generation: int
    adapter: Adapter


PlacementCommand = StartCommand | StopCommand | AdapterCommand


@dataclass(frozen=True, slots=True)
class Plan:
    commands: tuple[PlacementCommand, ...] = ()
    # Removed placements without an engine: desired state can forget them, unless a command for them is in `commands` and
    # has not ended. A start may be under way that no report shows yet, and forgotten then, nobody would ever stop it.
    finished: tuple[str, ...] = ()


def reconcile(snapshot: FleetSnapshot, drain_seconds_max: float) -> Plan:
    """The commands that bring the fleet nearer to what is wanted."""
    commands: list[PlacementCommand] = []
    finished: list[str] = []
    for placement_id, placement in snapshot.desired.placements.items():
        node = snapshot.nodes.get(placement.node)
        engine = snapshot.engines.get(placement_id)
        if node is None:
            if placement.desired is DesiredState.REMOVED:
                finished.append(placement_id)  # its node was forgotten: nobody is left to stop anything
            continue
        if not (node.connected and node.heard_since_boot):
            continue
        if placement.desired is DesiredState.RUNNING:
            if engine is None or engine.report.generation < placement.generation:
                commands.append(StartCommand(_command_id(placement, "start"), placement.node, placement))
            elif placement.adapters and COMMANDS_CAPABILITY in node.facts.capabilities:
                commands += _adapters(placement, engine)
            continue
        if (stop := _stop(placement, engine, drain_seconds_max)) is not None:
            commands.append(stop)
        if engine is None and placement.desired is DesiredState.REMOVED:
            finished.append(placement_id)
    return Plan(tuple(commands), tuple(finished))


def _adapters(placement: Placement, engine: EngineObserved) -> list[AdapterCommand]:
    """What the engine serves beside its model against what it should; what nobody ever asked for is left alone."""
    report = engine.report
    if report.state is not EngineState.READY or report.generation != placement.generation:
        return []
    return [
        AdapterCommand(
            _command_id(placement, f"{'load' if adapter.wanted else 'unload'}-{adapter.revision}"),
            placement.node,
            placement.placement_id,
            placement.generation,
            adapter,
        )
        for adapter in placement.adapters
        if adapter.wanted is not (adapter.name in report.adapters)
    ]


def _command_id(placement: Placement, verb: str) -> str:
    """The same for as long as the placement wants the same; another for a later placement of the same name.

    Agents carry an id out once, and generations begin anew when a placement was forgotten: hence the time.
    """
    made = int(placement.created_at.timestamp() * 1000)
    return f"{placement.placement_id}/{placement.generation}-{made:x}/{verb}"


def _stop(placement: Placement, engine: EngineObserved | None, drain_seconds_max: float) -> StopCommand | None:
    forget = placement.desired is DesiredState.REMOVED
    if not forget and (engine is None or engine.report.state in _GONE):
        return None
    limit = placement.drain_seconds_max
    return StopCommand(
        _command_id(placement, "remove" if forget else "drain"),
        placement.node,
        placement.placement_id,
        placement.generation,
        drain_seconds_max if limit is None else limit,
        forget,
    )
