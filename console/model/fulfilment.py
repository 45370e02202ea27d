"""Whether what is wanted of a placement is so: judged from what its node tells, for every screen and command alike. Pure.

An engine's observed generation is that of the start of its process. Draining and removing end a process, so they never
raise it, and are judged by the engine's state instead.
"""

from enum import Enum

from console.model.fleet_view import DesiredState, EngineRow, EngineState, PlacementRow

_ENDED = frozenset({EngineState.STOPPED, EngineState.FAILED})
_ENDING = frozenset({EngineState.DRAINING, EngineState.STOPPING})


class Fulfilment(Enum):
    DONE = "done"
    PENDING = "pending"  # its node has not taken it up
    DRAINING = "being drained"
    REMOVING = "being removed"


def fulfilment(placement: PlacementRow, engine: EngineRow | None) -> Fulfilment:
    """`engine` is the placement's own; None: its node tells of none."""
    if placement.desired is DesiredState.REMOVED:
        return Fulfilment.DONE if engine is None else Fulfilment.REMOVING
    if placement.desired is DesiredState.DRAINED:
        if engine is None or engine.state in _ENDED:
            return Fulfilment.DONE
        return Fulfilment.DRAINING if engine.state in _ENDING else Fulfilment.PENDING
    behind = placement.observed_generation is None or placement.observed_generation < placement.generation
    return Fulfilment.PENDING if behind else Fulfilment.DONE
