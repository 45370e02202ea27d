"""Load a LoRA adapter beside a placement's model, and unload it. Called by `rpc.operator_service`.

Adapters are desired state of the placement: only that changes here. Reconciliation has the agent load what is missing,
now, after every restart and wherever the engine is started again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from controlplane.clock import Clock
from controlplane.errors import ConflictError, InvalidInputError, NotFoundError
from controlplane.fleet.access import OperatorIdentity
from controlplane.fleet.desired import Adapter, Desired, Placement
from controlplane.fleet.desired import DesiredState as Wanted
from controlplane.fleet.history import AuditEntry, FleetEvent
from controlplane.fleet.ids import model_name
from controlplane.fleet.observed import Severity
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.desired_state import DesiredState
from controlplane.services.free_text import actor_of, checked_text
from controlplane.services.send_to_node import require_capable
from controlplane.storage.unit_of_work import UnitOfWork

ADAPTERS_MAX = 64
SOURCE_MAX = 2000
_SWITCH = re.compile(r"--(no[-_])?enable[-_]lora")


@dataclass(frozen=True, slots=True)
class AdapterOrder:
    placement_id: str
    name: str
    source: str = ""  # a path on the node; "" to unload


class ChangeAdapters:
    def __init__(self, desired: DesiredState, store: FleetStore, events: EventLog, clock: Clock) -> None:
        self._desired = desired
        self._store = store
        self._events = events
        self._clock = clock

    async def load(self, order: AdapterOrder, caller: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """Raises InvalidInputError, NotFoundError, ConflictError or UnavailableError, each saying what to do."""
        model_name(order.name)
        checked_text("source", order.source, SOURCE_MAX)
        if not order.source.startswith("/"):
            raise InvalidInputError("say where the adapter is: an absolute path on the node")
        return await self._change(order, caller, wanted=True, dry_run=dry_run)

    async def unload(self, order: AdapterOrder, caller: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """Raises likewise."""
        return await self._change(order, caller, wanted=False, dry_run=dry_run)

    async def _change(
        self, order: AdapterOrder, caller: OperatorIdentity, *, wanted: bool, dry_run: bool
    ) -> ActionAnswer:
        if dry_run:
            desired = self._store.snapshot.desired
            return self._answer(order, self._next(order, desired, wanted=wanted), wanted=wanted, dry_run=True)
        verb = "load_adapter" if wanted else "unload_adapter"

        def change(uow: UnitOfWork, desired: Desired) -> Placement | None:
            after = self._next(order, desired, wanted=wanted)
            if after is not None:
                uow.placements.put(after)
            detail = f"{order.name} from {order.source}" if wanted else order.name
            done = "no change" if after is None else "changed"
            now, actor = self._clock.now(), actor_of(caller.name)
            plan = self._answer(order, after, wanted=wanted, dry_run=False).plan
            uow.audit.append(AuditEntry(now, actor, verb, order.placement_id, detail, done, caller.peer, plan))
            return after

        after = await self._desired.change(change)
        if after is not None:
            asked = f"{'loading' if wanted else 'unloading'} of adapter {order.name} at {order.placement_id} asked for"
            self._events.append(
                [
                    FleetEvent(
                        self._clock.now(),
                        Severity.INFO,
                        "adapter_wanted" if wanted else "adapter_unwanted",
                        asked,
                        node=after.node,
                        engine_id=after.placement_id,
                        model=after.deployment.model,
                        actor=actor_of(caller.name),
                    )
                ]
            )
        return self._answer(order, after, wanted=wanted, dry_run=dry_run)

    def _next(self, order: AdapterOrder, desired: Desired, *, wanted: bool) -> Placement | None:
        """The placement as it is to be; None: it is so already."""
        placement = desired.placements.get(order.placement_id)
        if placement is None:
            raise NotFoundError(f"there is no placement {order.placement_id!a}: stoker placements lists them")
        if placement.desired is Wanted.REMOVED:
            raise ConflictError(f"{placement.placement_id} is being removed")
        require_capable(self._store.snapshot, placement.node)
        engine = self._store.snapshot.engines.get(placement.placement_id)
        served = engine is not None and order.name in engine.report.adapters
        known = next((adapter for adapter in placement.adapters if adapter.name == order.name), None)
        revision = max((adapter.revision for adapter in placement.adapters), default=0) + 1
        others = [adapter for adapter in placement.adapters if adapter.name != order.name]
        if not wanted:
            if known is None:
                raise NotFoundError(
                    f"{placement.placement_id} has no adapter {order.name!a} that was loaded by command"
                )
            if not known.wanted:
                return None
            return replace(placement, adapters=(*others, replace(known, revision=revision, wanted=False)))
        if not takes_adapters(placement.deployment.engine_args):
            raise ConflictError(
                f"{placement.placement_id} runs without --enable-lora: restart it with that argument first"
            )
        if order.name in {placement.deployment.model, placement.deployment.name}:
            raise ConflictError(f"{order.name} is the name of the model itself: give the adapter its own")
        if known is not None and known.wanted and known.source != order.source:
            raise ConflictError(f"{order.name} is loaded from {known.source}: unload it first")
        if known is not None and known.wanted and served:
            return None
        # What was unloaded is remembered until there is no room for it: by then no engine serves it any more.
        if len(others) >= ADAPTERS_MAX:
            others = [adapter for adapter in others if adapter.wanted]
        if len(others) >= ADAPTERS_MAX:
            raise ConflictError(f"{placement.placement_id} has {ADAPTERS_MAX} adapters already: unload one first")
        return replace(placement, adapters=(*others, Adapter(order.name, order.source, revision)))

    def _answer(self, order: AdapterOrder, after: Placement | None, *, wanted: bool, dry_run: bool) -> ActionAnswer:
        if after is None:
            return ActionAnswer((f"{order.placement_id} is so already: nothing to do",), (), changed=False)
        would = "would " if dry_run else ""
        s = "" if dry_run else "s"
        steps: tuple[str, ...]
        if wanted:
            steps = (
                f"{after.node} {would}load{s} {order.name} from {order.source} into {after.placement_id}",
                "it is loaded again after every restart, until it is unloaded",
            )
        else:
            steps = (f"{after.node} {would}unload{s} {order.name} from {after.placement_id}",)
        return ActionAnswer(steps, (after.placement_id,))


def takes_adapters(engine_args: Sequence[str]) -> bool:
    """Whether an engine with these arguments can load adapters; the last word counts, as for vLLM."""
    given = [match for argument in engine_args if (match := _SWITCH.fullmatch(argument)) is not None]
    return bool(given) and given[-1].group(1) is None
