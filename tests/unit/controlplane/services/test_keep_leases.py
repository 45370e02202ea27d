"""Leases are written down with an audit entry, previewed without a trace, and people are reminded of their ends."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controlplane.errors import ConflictError, InvalidInputError, NotFoundError
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.leases import DAY
from controlplane.fleet.observed import Severity
from controlplane.jobs.remind_of_leases import Reminders
from controlplane.runtime.event_log import EventLog
from controlplane.services.keep_leases import KeepLeases, LeaseOrder
from tests.support.clock import START
from tests.support.identity import ADMIN, Installation, installation

ORDER = LeaseOrder("gcp", "NVIDIA H100", 8, START + 40 * DAY, price_per_device_hour=2.5, currency="USD")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    async with installation(tmp_path) as made:
        yield made


@pytest.fixture
def events() -> EventLog:
    return EventLog((), 0, lambda _: None)


@pytest.fixture
def leases(here: Installation, events: EventLog) -> KeepLeases:
    return KeepLeases(here.database, events, here.clock)


def _kinds(events: EventLog) -> list[str]:
    return [event.kind for event in events.recent()]


async def test_a_lease_is_written_down_with_its_audit(leases: KeepLeases, here: Installation, events: EventLog) -> None:
    answer = await leases.put(ORDER, ADMIN, dry_run=False)
    (lease,) = await leases.list(ended=False)
    assert answer.changed
    said = "8 x NVIDIA H100 at gcp, until 2026-04-10 12:00 UTC (40 days left), 2.5 USD for a device and hour"
    assert answer.steps == (f"lease {lease.lease_id} is written down: {said}",)
    assert (lease.starts_at, lease.created_by) == (START, "operator:admin")
    (entry,) = await here.audit()
    assert (entry.action, entry.target, entry.outcome) == ("put_lease", lease.lease_id, "created")
    assert entry.plan == answer.plan
    assert _kinds(events) == ["lease_added"]


async def test_a_preview_leaves_no_trace(leases: KeepLeases, here: Installation, events: EventLog) -> None:
    answer = await leases.put(ORDER, ADMIN, dry_run=True)
    assert "would be written down" in answer.steps[0]
    assert await leases.list(ended=True) == ()
    assert await here.audit() == []
    assert _kinds(events) == []


async def test_a_change_keeps_who_began_it_and_the_same_again_changes_nothing(
    leases: KeepLeases, here: Installation
) -> None:
    await leases.put(ORDER, ADMIN, dry_run=False)
    (first,) = await leases.list(ended=False)
    here.clock.advance(3600)
    wanted = replace(ORDER, lease_id=first.lease_id, devices_count=16)
    assert (await leases.put(wanted, ADMIN, dry_run=False)).changed
    (second,) = await leases.list(ended=False)
    assert second == replace(first, devices_count=16)
    assert not (await leases.put(wanted, ADMIN, dry_run=False)).changed
    assert [entry.outcome for entry in await here.audit()] == ["created", "changed"]


async def test_an_end_moves_and_an_ended_lease_does_not(leases: KeepLeases, here: Installation) -> None:
    await leases.put(ORDER, ADMIN, dry_run=False)
    (lease,) = await leases.list(ended=False)
    here.clock.advance(3600)
    answer = await leases.end(lease.lease_id, START + 2 * DAY, ADMIN, dry_run=False)
    assert answer.changed
    assert not (await leases.end(lease.lease_id, START + 2 * DAY, ADMIN, dry_run=False)).changed
    assert (await leases.end(lease.lease_id, None, ADMIN, dry_run=False)).changed
    assert await leases.list(ended=False) == ()
    here.clock.advance(1)
    with pytest.raises(ConflictError, match="write a new one down"):
        await leases.end(lease.lease_id, None, ADMIN, dry_run=False)
    with pytest.raises(NotFoundError, match="stoker lease list"):
        await leases.end("lease-nope", None, ADMIN, dry_run=False)


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        (replace(ORDER, provider=""), "provider"),
        (replace(ORDER, provider="G\x1bCP"), "provider"),
        (replace(ORDER, device_kind="H100\n"), "kind of device"),
        (replace(ORDER, devices_count=0), "1 to"),
        (replace(ORDER, ends_at=None), "needs an end"),
        (replace(ORDER, ends_at=START), "end after it begins"),
        (replace(ORDER, ends_at=START + timedelta(days=40_000)), "hundred years"),
        (replace(ORDER, price_per_device_hour=float("nan")), "price"),
        (replace(ORDER, price_per_device_hour=-1.0), "price"),
        (replace(ORDER, currency=""), "currency"),
        (replace(ORDER, currency="dollars"), "three capital letters"),
        (replace(ORDER, price_per_device_hour=None), "currency"),
        (replace(ORDER, nodes=("Node 1",)), "node name"),
        (replace(ORDER, starts_at=START + 41 * DAY), "end after it begins"),
    ],
)
async def test_what_makes_no_lease_is_refused(leases: KeepLeases, order: LeaseOrder, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        await leases.put(order, ADMIN, dry_run=False)
    assert await leases.list(ended=True) == ()


async def test_reminders_come_once_each_and_louder_near_the_end(
    leases: KeepLeases, here: Installation, events: EventLog
) -> None:
    await leases.put(ORDER, ADMIN, dry_run=False)
    reminders, told = Reminders(leases), list[FleetEvent]()
    for hours in range(0, 42 * 24, 6):
        before = len(events.recent())
        await reminders.run(START + timedelta(hours=hours))
        told += events.recent()[before:]
    assert [(event.kind, event.severity) for event in told] == [
        ("lease_ending", Severity.INFO),
        *[("lease_ending", Severity.WARNING)] * 4,
        ("lease_ended", Severity.ERROR),
    ]
    assert [event.message.split(":")[0].split(" ends ")[-1] for event in told[:5]] == [
        "in 30 days",
        "in 14 days",
        "in 7 days",
        "in 3 days",
        "in 1 day",
    ]
    assert all(event.action for event in told)
