"""Desired against observed, to a plan of commands. Pure; called by `services.reconcile_fleet` after every change.

Level-triggered: the plan is made from the whole state each time, never from what happened; a command that was lost is simply
planned again, with the same id, and agents carry an id out once. It never plans for a node that is not connected, and never
stops an engine that no placement names (a database restored from a backup must not empty the fleet): such an engine gets no
requests, is shown as it is, and an operator removes it by name.
"""

from dataclasses import dataclass

from controlplane.fleet.desired import DesiredState, Placement
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
class Plan:
    commands: tuple[StartCommand | StopCommand, ...] = ()
    # Removed placements without an engine: desired state can forget them, unless a command for them is in `commands` and
    # has not ended. A start may be under way that no report shows yet, and forgotten then, nobody would ever stop it.
    finished: tuple[str, ...] = ()


def reconcile(snapshot: FleetSnapshot, drain_seconds_max: float) -> Plan:
    """The commands that bring the fleet nearer to what is wanted."""
    commands: list[StartCommand | StopCommand] = []
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
            continue
        if (stop := _stop(placement, engine, drain_seconds_max)) is not None:
            commands.append(stop)
        if engine is None and placement.desired is DesiredState.REMOVED:
            finished.append(placement_id)
    return Plan(tuple(commands), tuple(finished))


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
