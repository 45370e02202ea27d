"""Write down, change, end and list leases, and remind people of those that end.

Called by `rpc.operator_service` and, once a day, by `jobs.remind_of_leases`. Nothing is placed, drained or stopped here.
"""

import math
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from controlplane.clock import Clock
from controlplane.errors import ConflictError, InvalidInputError, NotFoundError
from controlplane.fleet import ids
from controlplane.fleet.access import OperatorIdentity
from controlplane.fleet.history import AuditEntry, FleetEvent
from controlplane.fleet.leases import Lease, days_left, due_reminder
from controlplane.fleet.observed import Severity
from controlplane.runtime.event_log import EventLog
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.free_text import actor_of, checked_text
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork

TEXT_MAX = 200
NODES_MAX = 1_000
DEVICES_MAX = 1_000_000
YEARS_MAX = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class LeaseOrder:
    """A lease as an operator writes it down."""

    provider: str
    device_kind: str
    devices_count: int
    ends_at: datetime | None
    starts_at: datetime | None = None  # None: now
    region: str = ""
    nodes: tuple[str, ...] = ()
    price_per_device_hour: float | None = None
    currency: str = ""
    note: str = ""
    lease_id: str = ""  # "": a new one


class KeepLeases:
    def __init__(self, database: Database, events: EventLog, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    async def list(self, *, ended: bool) -> tuple[Lease, ...]:
        """The one that ends first, first; `ended`: also those that are over."""
        after = None if ended else self._clock.now()
        return tuple(await self._database.run(lambda uow: uow.leases.list(after)))

    async def put(self, order: LeaseOrder, by: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """A new lease, or with an id another state of it. Raises InvalidInputError, NotFoundError."""
        now = self._clock.now()
        lease = _checked(order, by, now)

        def change(uow: UnitOfWork) -> tuple[ActionAnswer, bool]:
            before = uow.leases.get(lease.lease_id) if order.lease_id else None
            if order.lease_id and before is None:
                raise _unknown(order.lease_id)
            kept = lease if before is None else _changed(before, lease, order)
            changed = kept != before
            said = _said(kept, now)
            step = (
                f"lease {kept.lease_id} {_verb(new=before is None, dry_run=dry_run)}: {said}"
                if changed
                else f"lease {kept.lease_id} is so already: {said}"
            )
            answer = ActionAnswer((step,), changed=changed)
            if changed and not dry_run:
                uow.leases.put(kept)
                done = "created" if before is None else "changed"
                uow.audit.append(_audit(now, by, "put_lease", kept, said, done, answer))
            return answer, changed and before is None

        answer, is_new = await self._database.run(change)
        if is_new and not dry_run:
            self._events.append([_event(now, "lease_added", Severity.INFO, answer.steps[0], actor_of(by.name))])
        return answer

    async def end(self, lease_id: str, at: datetime | None, by: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """Let it end at another moment, by default now. Raises NotFoundError, InvalidInputError, ConflictError."""
        now = self._clock.now()
        moment = now if at is None else at

        def change(uow: UnitOfWork) -> ActionAnswer:
            found = uow.leases.get(lease_id)
            if found is None:
                raise _unknown(lease_id)
            if found.ends_at <= now:
                raise ConflictError(
                    f"lease {lease_id} ended at {found.ends_at:%Y-%m-%d %H:%M} UTC: write a new one down"
                )
            if moment <= found.starts_at:
                raise InvalidInputError(
                    f"lease {lease_id} begins at {found.starts_at:%Y-%m-%d %H:%M} UTC, after that end"
                )
            ended = replace(found, ends_at=moment)
            said = f"from {found.ends_at:%Y-%m-%d %H:%M} to {moment:%Y-%m-%d %H:%M} UTC"
            changed = ended != found
            verb = "would move" if dry_run else "moves"
            step = f"the end of lease {lease_id} {verb} {said}" if changed else f"lease {lease_id} ends then already"
            answer = ActionAnswer((step,), changed=changed)
            if changed and not dry_run:
                uow.leases.put(ended)
                uow.audit.append(_audit(now, by, "end_lease", ended, said, "changed", answer))
            return answer

        answer = await self._database.run(change)
        if answer.changed and not dry_run:
            self._events.append([_event(now, "lease_changed", Severity.INFO, answer.steps[0], actor_of(by.name))])
        return answer

    async def remind(self, before: datetime, now: datetime) -> int:
        """Tell of the leases that came near their end, or to it, in (before, now]; how many."""
        found = await self._database.run(lambda uow: uow.leases.list(before))
        told = []
        for lease in found:
            if before < lease.ends_at <= now:
                message = f"lease {lease.lease_id} has ended: {_what(lease)}"
                told.append(_event(now, "lease_ended", Severity.ERROR, message, action=_ENDED))
            elif (days := due_reminder(lease, before, now)) is not None:
                ends = f"{days} day{'' if days == 1 else 's'}"
                message = (
                    f"lease {lease.lease_id} ends in {ends}: {_what(lease)}, until {lease.ends_at:%Y-%m-%d %H:%M} UTC"
                )
                severity = Severity.WARNING if days <= _WARN_DAYS else Severity.INFO
                told.append(_event(now, "lease_ending", severity, message, action=_ENDING))
        self._events.append(told)
        return len(told)


_WARN_DAYS = 14
_ENDING = "renew it with the provider and write the new end down (stoker lease set), or drain its nodes in time"
_ENDED = "drain its nodes, or write down that it goes on: stoker lease set"


def _checked(order: LeaseOrder, by: OperatorIdentity, now: datetime) -> Lease:
    starts_at = order.starts_at or now
    if not order.provider:
        raise InvalidInputError("a lease needs a provider: whose devices they are")
    if not order.device_kind:
        raise InvalidInputError("a lease needs a kind of device, as nodes tell it: stoker nodes -o json")
    if order.ends_at is None:
        raise InvalidInputError("a lease needs an end")
    if order.ends_at <= starts_at:
        raise InvalidInputError("a lease must end after it begins")
    if max(abs(order.ends_at - now), abs(starts_at - now)) > YEARS_MAX:
        raise InvalidInputError("a lease must begin and end within a hundred years")
    if not 1 <= order.devices_count <= DEVICES_MAX:
        raise InvalidInputError(f"a lease is of 1 to {DEVICES_MAX:,} devices")
    price = order.price_per_device_hour
    if price is not None and not (math.isfinite(price) and price >= 0):
        raise InvalidInputError("a price must be a number, and not negative")
    if (price is None) != (not order.currency):
        raise InvalidInputError("a price needs a currency, and a currency a price")
    if order.currency and not (len(order.currency) == 3 and order.currency.isascii() and order.currency.isupper()):
        raise InvalidInputError("a currency is three capital letters, such as USD")
    if len(order.nodes) > NODES_MAX:
        raise InvalidInputError(f"a lease names at most {NODES_MAX} nodes")
    return Lease(
        lease_id=order.lease_id or f"lease-{secrets.token_hex(4)}",
        provider=ids.place_label("provider", order.provider),
        region=ids.place_label("region", order.region),
        device_kind=checked_text("kind of device", order.device_kind, TEXT_MAX),
        devices_count=order.devices_count,
        nodes=tuple(sorted({ids.node_name(name) for name in order.nodes})),
        starts_at=starts_at,
        ends_at=order.ends_at,
        price_per_device_hour=price,
        currency=order.currency,
        note=checked_text("note", order.note, TEXT_MAX),
        created_at=now,
        created_by=actor_of(by.name),
    )


def _changed(before: Lease, wanted: Lease, order: LeaseOrder) -> Lease:
    """Who wrote it down and when stays; so does its beginning, unless another is told."""
    starts_at = before.starts_at if order.starts_at is None else wanted.starts_at
    if wanted.ends_at <= starts_at:
        raise InvalidInputError("a lease must end after it begins")
    return replace(wanted, starts_at=starts_at, created_at=before.created_at, created_by=before.created_by)


def _unknown(lease_id: str) -> NotFoundError:
    return NotFoundError(f"there is no lease {lease_id[:80]!a}: stoker lease list --ended lists them")


def _verb(*, new: bool, dry_run: bool) -> str:
    if new:
        return "would be written down" if dry_run else "is written down"
    return "would be changed" if dry_run else "is changed"


def _what(lease: Lease) -> str:
    where = f"{lease.provider} {lease.region}".strip()
    return f"{lease.devices_count} x {lease.device_kind} at {where}"


def _said(lease: Lease, now: datetime) -> str:
    price = ""
    if lease.price_per_device_hour is not None:
        price = f", {lease.price_per_device_hour:g} {lease.currency} for a device and hour"
    left = days_left(lease, now)
    return (
        f"{_what(lease)}, until {lease.ends_at:%Y-%m-%d %H:%M} UTC ({left} day{'' if left == 1 else 's'} left){price}"
    )


def _audit(
    now: datetime, by: OperatorIdentity, action: str, lease: Lease, detail: str, outcome: str, answer: ActionAnswer
) -> AuditEntry:
    return AuditEntry(now, actor_of(by.name), action, lease.lease_id, detail, outcome, by.peer, answer.plan)


def _event(
    now: datetime, kind: str, severity: Severity, message: str, actor: str = "system", action: str = ""
) -> FleetEvent:
    return FleetEvent(now, severity, kind, message, actor=actor, action=action)
