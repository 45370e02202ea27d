"""The one door to desired state: SQL first, then memory, or neither."""

import asyncio
import threading

import pytest

from controlplane.errors import ConflictError
from controlplane.fleet.desired import Desired
from controlplane.storage.unit_of_work import UnitOfWork
from tests.support.fleet import enrolled, placed
from tests.support.plane import Plane


async def test_what_fails_leaves_nothing_behind(fleet: Plane) -> None:
    version = fleet.store.snapshot.version

    def half(uow: UnitOfWork, _: Desired) -> None:
        uow.placements.put(placed())
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        await fleet.desired.change(half)
    assert fleet.store.snapshot.version == version
    assert await fleet.database.run(lambda uow: uow.placements.all()) == []


async def test_a_change_sees_what_is_in_sql_not_what_was_in_memory(fleet: Plane) -> None:
    await fleet.database.run(lambda uow: uow.nodes.put(enrolled("azure-1")))
    seen = await fleet.desired.change(lambda _, desired: set(desired.nodes))
    assert seen == {"gcp-1", "aws-1", "azure-1"}
    assert "azure-1" in fleet.store.snapshot.nodes


async def test_what_others_wrote_is_put_into_force(fleet: Plane) -> None:
    await fleet.database.run(lambda uow: uow.nodes.put(enrolled("azure-1")))
    assert "azure-1" not in fleet.store.snapshot.nodes
    await fleet.desired.refresh()
    assert "azure-1" in fleet.store.snapshot.nodes


async def test_a_caller_that_hangs_up_leaves_memory_as_sql_is(fleet: Plane) -> None:
    begun, go_on, in_force = asyncio.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    fleet.store.subscribe(lambda _before, _after, _told: in_force.set())

    def slow(uow: UnitOfWork, _: Desired) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(10)
        uow.placements.put(placed())

    call = fleet.tasks.spawn("a call", fleet.desired.change(slow))
    async with asyncio.timeout(10):
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go_on.set()
        await in_force.wait()
    assert set(fleet.wanted().placements) == {"llama@gcp-1"}
    assert [p.placement_id for p in await fleet.database.run(lambda uow: uow.placements.all())] == ["llama@gcp-1"]
