"""Forget a node for good: its identity is refused from now on. Called by `rpc.operator_service`.

A node with placements is not forgotten: they are removed first, so that nothing is left running behind our back. Only of a
node that is not connected, which may never come back to carry a removal out, those go with it that are being removed. With
a simulator go the nodes that it speaks for.
"""

from controlplane.clock import Clock
from controlplane.errors import ConflictError, NotFoundError
from controlplane.fleet.access import OperatorIdentity
from controlplane.fleet.desired import Desired
from controlplane.fleet.desired import DesiredState as Wanted
from controlplane.fleet.history import AuditEntry, FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.runtime.agent_sessions import AgentSessions
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.desired_state import DesiredState
from controlplane.storage.unit_of_work import UnitOfWork


class ForgetNode:
    def __init__(
        self, desired: DesiredState, store: FleetStore, sessions: AgentSessions, events: EventLog, clock: Clock
    ) -> None:
        self._desired = desired
        self._store = store
        self._sessions = sessions
        self._events = events
        self._clock = clock

    async def __call__(self, node: str, caller: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """Raises NotFoundError, or ConflictError while placements are left on it."""
        before = self._store.snapshot.desired
        self._removed_on(node, before)
        nodes = (node, *simulated_by(node, before))
        beside = f" with {len(nodes) - 1} nodes that it simulates" if len(nodes) > 1 else ""
        if dry_run:
            return ActionAnswer(
                (
                    f"{node} would be forgotten{beside}; its certificate would be refused, and it would have to join again",
                )
            )

        done = ActionAnswer((f"{node} was forgotten{beside}; it must join again to be used",))

        def forget(uow: UnitOfWork, desired: Desired) -> None:
            removed = [
                placement_id
                for name in (node, *simulated_by(node, desired))
                for placement_id in self._removed_on(name, desired)
            ]
            for placement_id in removed:
                uow.placements.remove(placement_id)
            uow.engine_summaries.remove(removed)
            for name in (node, *simulated_by(node, desired)):
                uow.nodes.remove(name)
            uow.deployments.remove_unused()
            uow.audit.append(
                AuditEntry(
                    self._clock.now(),
                    f"operator:{caller.name}",
                    "forget_node",
                    node,
                    "",
                    "forgotten",
                    caller.peer,
                    done.plan,
                )
            )

        await self._desired.change(forget)
        for name in nodes:
            self._sessions.forget(name)
        self._events.append(
            [
                FleetEvent(
                    self._clock.now(),
                    Severity.WARNING,
                    "node_forgotten",
                    f"{node} was forgotten{beside}",
                    node=node,
                    actor=f"operator:{caller.name}",
                )
            ]
        )
        return done

    def _removed_on(self, node: str, desired: Desired) -> list[str]:
        """The node's placements, which go with it. Raises NotFoundError, or ConflictError for those that must not."""
        if node not in desired.nodes:
            raise NotFoundError(f"there is no node {node!a}: stoker nodes lists them")
        on_it = sorted((p for p in desired.placements.values() if p.node == node), key=lambda p: p.placement_id)
        left = [placement.placement_id for placement in on_it if placement.desired is not Wanted.REMOVED]
        if left:
            raise ConflictError(f"{node} still has placements: {', '.join(left)}; stoker remove each of them first")
        observed = self._store.snapshot.nodes.get(node)
        if on_it and observed is not None and observed.connected:
            raise ConflictError(f"{node} is still removing {on_it[0].placement_id}: try again when it has stopped")
        return [placement.placement_id for placement in on_it]


def simulated_by(node: str, desired: Desired) -> tuple[str, ...]:
    """The names of the nodes for which this simulator speaks; none for a real node."""
    return tuple(sorted(name for name, each in desired.nodes.items() if each.simulated_by == node))
