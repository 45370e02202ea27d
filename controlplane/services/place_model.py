"""Place a model on a node: the operator's way to start an engine.

Called by `rpc.operator_service`. Only desired state changes here; reconciliation starts the engine.
"""

from dataclasses import dataclass

from controlplane.clock import Clock
from controlplane.errors import ConflictError, InvalidInputError, NotFoundError
from controlplane.fleet.access import OperatorIdentity
from controlplane.fleet.desired import Deployment, Desired, Placement
from controlplane.fleet.desired import DesiredState as Wanted
from controlplane.fleet.history import AuditEntry, FleetEvent
from controlplane.fleet.ids import deployment_name, model_name, placement_id
from controlplane.fleet.observed import Severity
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.desired_state import DesiredState
from controlplane.services.free_text import checked_arguments
from controlplane.storage.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    model: str
    node: str
    source: str = ""  # "": that of the deployment, which then must exist
    engine_args: tuple[str, ...] = ()
    device_ids: tuple[str, ...] = ()
    deployment: str = ""  # "": the model's name


class PlaceModel:
    def __init__(self, desired: DesiredState, store: FleetStore, events: EventLog, clock: Clock) -> None:
        self._desired = desired
        self._store = store
        self._events = events
        self._clock = clock

    async def __call__(self, order: PlaceOrder, caller: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """Raises InvalidInputError, NotFoundError, ConflictError or UnavailableError, each saying what to do."""
        checked_arguments([order.source, *order.engine_args, *order.device_ids])
        if dry_run:
            return _answer(self._placement(order, caller, self._store.snapshot.desired), dry_run=True)

        def place(uow: UnitOfWork, desired: Desired) -> Placement:
            placement = self._placement(order, caller, desired)
            uow.placements.put(placement)
            uow.audit.append(
                AuditEntry(
                    self._clock.now(),
                    f"operator:{caller.name}",
                    "place",
                    placement.placement_id,
                    f"{placement.deployment.model} from {placement.deployment.source} on {placement.node}",
                    "placed",
                    caller.peer,
                    _answer(placement, dry_run=False).plan,
                )
            )
            return placement

        placement = await self._desired.change(place)
        self._events.append(
            [
                FleetEvent(
                    self._clock.now(),
                    Severity.INFO,
                    "placement_created",
                    f"{placement.deployment.model} placed on {placement.node} as {placement.placement_id}",
                    node=placement.node,
                    engine_id=placement.placement_id,
                    model=placement.deployment.model,
                    actor=f"operator:{caller.name}",
                )
            ]
        )
        return _answer(placement, dry_run=False)

    def _placement(self, order: PlaceOrder, caller: OperatorIdentity, desired: Desired) -> Placement:
        node = desired.nodes.get(order.node)
        if node is None:
            known = ", ".join(sorted(desired.nodes)[:10]) or "none has joined yet: stoker node token"
            raise NotFoundError(f"there is no node {order.node!a}; nodes: {known}")
        if node.cordoned:
            raise ConflictError(
                f"node {node.name} is cordoned ({node.cordon_reason}): stoker resume --node {node.name}"
            )
        _check_devices(order, self._store.snapshot)
        deployment = _deployment(order, desired)
        taken = set(desired.placements)
        ordinal = 1
        while (name := placement_id(deployment.name, node.name, ordinal)) in taken:
            ordinal += 1
        return Placement(
            placement_id=name,
            deployment=deployment,
            node=node.name,
            generation=1,
            desired=Wanted.RUNNING,
            created_at=self._clock.now(),
            created_by=caller.name,
            device_ids=order.device_ids,
        )


def _check_devices(order: PlaceOrder, snapshot: FleetSnapshot) -> None:
    observed = snapshot.nodes.get(order.node)
    known = {device.device_id for device in observed.facts.devices} if observed else set()
    missing = [device for device in order.device_ids if known and device not in known]
    if missing:
        raise NotFoundError(f"node {order.node} has no device {', '.join(missing)}; it has {', '.join(sorted(known))}")


def _deployment(order: PlaceOrder, desired: Desired) -> Deployment:
    model = model_name(order.model)
    name = deployment_name(order.deployment or order.model)
    existing = desired.deployments.get(name)
    if existing is None:
        if not order.source:
            raise InvalidInputError(f"{model} was never placed before: say where its weights are with --source")
        return Deployment(name, model, order.source, order.engine_args)
    asked = Deployment(
        name, model, order.source or existing.source, order.engine_args if order.engine_args else existing.engine_args
    )
    if asked != existing:
        raise ConflictError(
            f"deployment {name} exists with another model, source or arguments; give this one its own with --deployment"
        )
    return existing


def _answer(placement: Placement, *, dry_run: bool) -> ActionAnswer:
    verb = "would start" if dry_run else "starts"
    deployment = placement.deployment
    arguments = f" with {' '.join(deployment.engine_args)}" if deployment.engine_args else ""
    return ActionAnswer(
        (
            f"{placement.node} {verb} {placement.placement_id}: {deployment.model} from {deployment.source}{arguments}",
            "it gets requests once it has answered a canary",
        ),
        (placement.placement_id,),
    )
