"""Bring the fleet nearer to what is wanted: plan, send the commands, forget what is gone.

Called by the fleet store at every swap. The plan is pure (`policies.placement.reconcile`); this only carries it out. Commands
go to the nodes' sessions; whether they arrived shows in the next reports.
"""

from collections.abc import Callable

from controlplane.clock import Clock
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.policies.placement.reconcile import PlacementCommand, StartCommand, StopCommand, reconcile
from controlplane.runtime.agent_sessions import AgentSessions
from controlplane.runtime.event_log import EventLog


class ReconcileFleet:
    def __init__(
        self,
        sessions: AgentSessions,
        events: EventLog,
        clock: Clock,
        drain_seconds_max: Callable[[], float],
        forget_placements: Callable[[tuple[str, ...]], None],
    ) -> None:
        """`forget_placements` deletes them from desired state in its own time; called again until they are gone."""
        self._sessions = sessions
        self._events = events
        self._clock = clock
        self._drain_seconds_max = drain_seconds_max
        self._forget_placements = forget_placements

    def on_change(self, before: FleetSnapshot, after: FleetSnapshot, _: tuple[FleetEvent, ...]) -> None:
        del before
        plan = reconcile(after, self._drain_seconds_max())
        told = []
        for command in plan.commands:
            if not self._sessions.send(command):
                continue
            engine_id, what = _named(command)
            told.append(
                FleetEvent(
                    self._clock.now(),
                    Severity.INFO,
                    "command_sent",
                    f"{what} sent to {command.node}",
                    node=command.node,
                    engine_id=engine_id,
                )
            )
        self._events.append(told)
        under_way = {
            command.engine_id
            for command in plan.commands
            if isinstance(command, StopCommand) and self._sessions.outcome(command.node, command.command_id) is None
        }
        finished = tuple(placement_id for placement_id in plan.finished if placement_id not in under_way)
        if finished:
            self._forget_placements(finished)


def _named(command: PlacementCommand) -> tuple[str, str]:
    """The engine that it is about, and what it is, for people."""
    if isinstance(command, StartCommand):
        engine_id = command.placement.placement_id
        return engine_id, f"start of {engine_id}"
    if isinstance(command, StopCommand):
        return command.engine_id, f"stop of {command.engine_id}"
    verb = "loading" if command.adapter.wanted else "unloading"
    return command.engine_id, f"{verb} of adapter {command.adapter.name} at {command.engine_id}"
