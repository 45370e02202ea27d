"""Restart an engine, with the arguments that it has or with others: the operator's way to change a running placement.

Called by `rpc.operator_service`. Only desired state changes here: a new generation, which reconciliation has the agent
start. The agent tries the arguments before it stops anything; a refusal is an event, and the old generation goes on.
"""

from dataclasses import dataclass, replace

from controlplane.clock import Clock
from controlplane.errors import ConflictError, NotFoundError
from controlplane.fleet.access import OperatorIdentity
from controlplane.fleet.desired import Deployment, Desired, Placement
from controlplane.fleet.desired import DesiredState as Wanted
from controlplane.fleet.history import AuditEntry, FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.change_adapters import takes_adapters
from controlplane.services.desired_state import DesiredState
from controlplane.services.free_text import actor_of, checked_arguments, checked_text
from controlplane.storage.unit_of_work import UnitOfWork

REASON_MAX = 500


@dataclass(frozen=True, slots=True)
class RestartOrder:
    placement_id: str
    engine_args: tuple[str, ...] | None = None  # None: as they are
    reason: str = ""


class RestartEngine:
    def __init__(self, desired: DesiredState, store: FleetStore, events: EventLog, clock: Clock) -> None:
        self._desired = desired
        self._store = store
        self._events = events
        self._clock = clock

    async def __call__(self, order: RestartOrder, caller: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """Raises InvalidInputError, NotFoundError, ConflictError or UnavailableError, each saying what to do."""
        checked_text("reason", order.reason, REASON_MAX)
        checked_arguments(order.engine_args or ())
        if dry_run:
            desired = self._store.snapshot.desired
            before = _placement(order, desired)
            return self._answer(before, _next(order, before, desired), dry_run=True)

        def restart(uow: UnitOfWork, desired: Desired) -> tuple[Placement, Placement]:
            before = _placement(order, desired)
            after = _next(order, before, desired)
            if after.deployment != before.deployment:
                uow.deployments.put(after.deployment)
            uow.placements.put(after)
            uow.deployments.remove_unused()
            detail = f"generation {after.generation}" + (f": {order.reason}" if order.reason else "")
            if order.engine_args is not None:
                detail += f"; arguments: {' '.join(after.deployment.engine_args)}"
            uow.audit.append(
                AuditEntry(
                    self._clock.now(),
                    actor_of(caller.name),
                    "restart",
                    after.placement_id,
                    detail,
                    "restarted",
                    caller.peer,
                    self._answer(before, after, dry_run=False).plan,
                )
            )
            return before, after

        before, after = await self._desired.change(restart)
        reason = f": {order.reason}" if order.reason else ""
        self._events.append(
            [
                FleetEvent(
                    self._clock.now(),
                    Severity.INFO,
                    "placement_restarted",
                    f"restart of {after.placement_id} as generation {after.generation} asked for{reason}",
                    node=after.node,
                    engine_id=after.placement_id,
                    model=after.deployment.model,
                    actor=actor_of(caller.name),
                )
            ]
        )
        return self._answer(before, after, dry_run=False)

    def _answer(self, before: Placement, after: Placement, *, dry_run: bool) -> ActionAnswer:
        steps = []
        arguments = " ".join(after.deployment.engine_args) or "it has none of its own"
        if after.deployment.name != before.deployment.name:
            becomes = "would become" if dry_run else "becomes"
            steps.append(
                f"{after.placement_id} {becomes} deployment {after.deployment.name}: "
                f"{before.deployment.name} keeps its arguments for its other placements"
            )
        tries = "would have" if dry_run else "has"
        steps.append(f"{after.node} {tries} the engine's own parser try the arguments first: {arguments}")
        then = "would drain and start" if dry_run else "drains and starts"
        steps.append(f"if they pass, it {then} {after.placement_id} again, as generation {after.generation}")
        node = self._store.snapshot.nodes.get(after.node)
        if node is None or not node.connected:
            steps.append(f"{after.node} is not connected: this waits until it is")
        return ActionAnswer(tuple(steps), (after.placement_id,))


def _placement(order: RestartOrder, desired: Desired) -> Placement:
    placement = desired.placements.get(order.placement_id)
    if placement is None:
        raise NotFoundError(f"there is no placement {order.placement_id!a}: stoker placements lists them")
    if placement.desired is Wanted.REMOVED:
        raise ConflictError(f"{placement.placement_id} is being removed: place the model again instead")
    if placement.desired is Wanted.DRAINED:
        raise ConflictError(f"{placement.placement_id} is drained: stoker resume {placement.placement_id} starts it")
    return placement


def _next(order: RestartOrder, placement: Placement, desired: Desired) -> Placement:
    deployment = placement.deployment
    if order.engine_args is not None and order.engine_args != deployment.engine_args:
        deployment = _deployment(order.engine_args, placement, desired)
    served = [adapter.name for adapter in placement.adapters if adapter.wanted]
    if served and not takes_adapters(deployment.engine_args):
        raise ConflictError(
            f"{placement.placement_id} serves the adapters {', '.join(served)}: keep --enable-lora, or unload them first"
        )
    return replace(placement, deployment=deployment, generation=placement.generation + 1)


def _deployment(engine_args: tuple[str, ...], placement: Placement, desired: Desired) -> Deployment:
    """Its own, changed, when no other placement has it; else one that is so already, or a new one."""
    own = placement.deployment
    wanted = replace(own, engine_args=engine_args)
    shared = any(
        other.deployment.name == own.name and other.placement_id != placement.placement_id
        for other in desired.placements.values()
    )
    if not shared:
        return wanted
    number = 2
    while (found := desired.deployments.get(f"{own.name}-{number}")) is not None:
        if replace(found, name=own.name) == wanted:
            return found
        number += 1
    return replace(wanted, name=f"{own.name}-{number}")
