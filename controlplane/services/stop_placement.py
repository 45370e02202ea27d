"""Drain, remove and resume: the operator's ways to take engines out of service and back.

Called by `rpc.operator_service`. Only desired state changes here: routing stops at once with it, and reconciliation has the
agents finish what runs and stop. A drained placement stays and can be resumed; a removed one is forgotten once it stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from controlplane.clock import Clock
from controlplane.errors import ConflictError, InvalidInputError, NotFoundError
from controlplane.fleet.access import OperatorIdentity
from controlplane.fleet.desired import Deployment, Desired, Placement
from controlplane.fleet.desired import DesiredState as Wanted
from controlplane.fleet.history import AuditEntry, FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.desired_state import DesiredState
from controlplane.services.free_text import checked_text
from controlplane.storage.unit_of_work import UnitOfWork

DRAIN_SECONDS_LIMIT = 86_400.0
REASON_MAX = 500


@dataclass(frozen=True, slots=True)
class Target:
    """What to act on: one placement, or all of a node."""

    placement_id: str = ""
    node: str = ""
    drain_seconds_max: float | None = None  # None: the daemon's setting
    reason: str = ""


_DONE = {"drain": "placement_drained", "remove": "placement_removed", "resume": "placement_resumed"}


class StopPlacement:
    def __init__(
        self,
        desired: DesiredState,
        store: FleetStore,
        inflight: Inflight,
        events: EventLog,
        clock: Clock,
        drain_seconds_max: Callable[[], float],
    ) -> None:
        self._desired = desired
        self._store = store
        self._inflight = inflight
        self._events = events
        self._clock = clock
        self._drain_seconds_max = drain_seconds_max

    async def drain(self, target: Target, caller: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """No new requests, finish those that run, stop the engine. For a node: cordon it, then all its placements."""
        return await self._act("drain", Wanted.DRAINED, target, caller, dry_run=dry_run)

    async def remove(self, target: Target, caller: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """Drain, then forget the placement."""
        return await self._act("remove", Wanted.REMOVED, target, caller, dry_run=dry_run)

    async def resume(self, target: Target, caller: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """The undo of drain. For a node: lift the cordon, then all its drained placements."""
        return await self._act("resume", Wanted.RUNNING, target, caller, dry_run=dry_run)

    async def _act(
        self, action: str, wanted: Wanted, target: Target, caller: OperatorIdentity, *, dry_run: bool
    ) -> ActionAnswer:
        limit = target.drain_seconds_max
        if limit is not None and not 0 < limit <= DRAIN_SECONDS_LIMIT:
            raise InvalidInputError(f"a drain may take more than 0 and at most {DRAIN_SECONDS_LIMIT:.0f} seconds")
        checked_text("reason", target.reason, REASON_MAX)
        if dry_run:
            return self._answer(
                action, target, self._changes(action, wanted, target, self._store.snapshot.desired), dry_run=True
            )

        def change(uow: UnitOfWork, desired: Desired) -> list[Placement]:
            changes = self._changes(action, wanted, target, desired)
            for placement in changes:
                uow.placements.put(placement)
            if target.node and action in {"drain", "resume"}:
                uow.nodes.set_cordon(target.node, action == "drain", target.reason or f"drained by {caller.name}")
            name = target.node or target.placement_id
            detail = ", ".join(p.placement_id for p in changes) + (f": {target.reason}" if target.reason else "")
            uow.audit.append(
                AuditEntry(
                    self._clock.now(),
                    f"operator:{caller.name}",
                    action,
                    name,
                    detail,
                    f"{len(changes)} changed",
                    caller.peer,
                    self._answer(action, target, changes, dry_run=False).plan,
                )
            )
            return changes

        changes = await self._desired.change(change)
        self._events.append([self._event(action, placement, target, caller) for placement in changes])
        return self._answer(action, target, changes, dry_run=False)

    def _changes(self, action: str, wanted: Wanted, target: Target, desired: Desired) -> list[Placement]:
        found = []
        for placement in self._targets(action, target, desired):
            if placement.desired is Wanted.REMOVED and wanted is not Wanted.REMOVED:
                if target.placement_id:
                    raise ConflictError(f"{placement.placement_id} is being removed: place the model again instead")
                continue
            if placement.desired is not wanted:
                found.append(
                    replace(
                        placement,
                        desired=wanted,
                        generation=placement.generation + 1,
                        drain_seconds_max=target.drain_seconds_max,
                    )
                )
        return found

    def _targets(self, action: str, target: Target, desired: Desired) -> list[Placement]:
        if bool(target.placement_id) == bool(target.node):
            raise InvalidInputError("name either a placement or a node")
        if target.node:
            if target.node not in desired.nodes:
                raise NotFoundError(f"there is no node {target.node!a}: stoker nodes lists them")
            return [p for p in desired.placements.values() if p.node == target.node]
        placement = desired.placements.get(target.placement_id)
        if placement is not None:
            return [placement]
        stray = self._store.snapshot.engines.get(target.placement_id)
        if stray is None or action != "remove":
            raise NotFoundError(f"there is no placement {target.placement_id!a}: stoker placements lists them")
        report = stray.report  # an engine that no placement names: removing it begins with one
        return [
            Placement(
                report.engine_id,
                Deployment(f"stray-{report.model or 'unknown'}", report.model or "unknown", "unknown"),
                stray.node,
                report.generation,
                Wanted.RUNNING,
                self._clock.now(),
                "unknown",
            )
        ]

    def _event(self, action: str, placement: Placement, target: Target, caller: OperatorIdentity) -> FleetEvent:
        reason = f": {target.reason}" if target.reason else ""
        return FleetEvent(
            self._clock.now(),
            Severity.INFO,
            _DONE[action],
            f"{action} of {placement.placement_id} asked for{reason}",
            node=placement.node,
            engine_id=placement.placement_id,
            model=placement.deployment.model,
            actor=f"operator:{caller.name}",
        )

    def _answer(self, action: str, target: Target, changes: list[Placement], *, dry_run: bool) -> ActionAnswer:
        steps: list[str] = []
        if target.node and action == "drain":
            steps.append(f"{target.node} {'would take' if dry_run else 'takes'} no new placements")
        if target.node and action == "resume":
            steps.append(f"{target.node} {'would take' if dry_run else 'takes'} placements again")
        steps.extend(self._step(action, placement, dry_run=dry_run) for placement in changes)
        if not changes and target.placement_id:
            steps.append(f"{target.placement_id} is so already: nothing to do")
        return ActionAnswer(tuple(steps), tuple(p.placement_id for p in changes), bool(changes) or bool(target.node))

    def _step(self, action: str, placement: Placement, *, dry_run: bool) -> str:
        name = placement.placement_id
        if action == "resume":
            return f"{placement.node} {'would start' if dry_run else 'starts'} {name} again"
        limit = placement.drain_seconds_max or self._drain_seconds_max()
        engine = self._store.snapshot.engines.get(name)
        if engine is None:
            running = "nothing known to run there"
        else:
            count = engine.report.gauges.running
            running = f"{count} run there" if count is not None else "it is not known how many run there"
        if dry_run:
            after = " and be forgotten" if action == "remove" else ""
            return f"{name} would get no new requests, finish its own in at most {limit:.0f} s ({running}), stop{after}"
        after = " and is forgotten" if action == "remove" else ""
        return f"{name} gets no new requests, finishes its own in at most {limit:.0f} s ({running}), stops{after}"
