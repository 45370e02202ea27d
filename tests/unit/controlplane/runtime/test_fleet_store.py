"""One writer, frozen snapshots: what is posted arrives in batches, what is applied now is in force on return."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from controlplane.fleet.events import DesiredChanged
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import Trust
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.tasks import TaskScope
from tests.support.clock import SettableClock
from tests.support.fleet import THRESHOLDS, desired, enrolled, opened, placed, report, reported

WANTED = DesiredChanged(desired([enrolled("gcp-1")], [placed("llama@gcp-1")]))


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def store(clock: SettableClock) -> FleetStore:
    return FleetStore(clock, THRESHOLDS)


@pytest.fixture
async def tasks() -> AsyncIterator[TaskScope]:
    scope = TaskScope()
    yield scope
    await scope.close()


class Swaps:
    """Waits for the swaps of a store."""

    def __init__(self, store: FleetStore) -> None:
        self.seen: list[tuple[FleetSnapshot, FleetSnapshot, tuple[FleetEvent, ...]]] = []
        self._happened = asyncio.Event()
        store.subscribe(self._on_swap)

    def _on_swap(self, before: FleetSnapshot, after: FleetSnapshot, told: tuple[FleetEvent, ...]) -> None:
        self.seen.append((before, after, told))
        self._happened.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.seen) < count:
                self._happened.clear()
                await self._happened.wait()


async def test_a_burst_becomes_one_snapshot(store: FleetStore, tasks: TaskScope) -> None:
    swaps = Swaps(store)
    tasks.spawn("store", store.run())
    store.post(WANTED)
    for second in range(20):
        store.post(report("gcp-1", second, reported()))
    assert store.snapshot.version == 0, "a post waits for its batch"
    await swaps.until(1)
    [(before, after, told)] = swaps.seen
    assert (before.version, after.version) == (0, 1)
    assert after is store.snapshot
    assert [event.kind for event in told] == ["engine_ready"]


async def test_what_is_applied_now_is_visible_on_return_with_all_that_was_posted_before(store: FleetStore) -> None:
    store.post(WANTED)
    after = store.apply_now(opened("gcp-1", 0, reported()))
    assert after is store.snapshot
    assert set(after.engines) == {"llama@gcp-1"}
    assert store.apply_now() is after, "nothing was left to apply"


async def test_subscribers_are_called_in_order_and_see_the_new_snapshot(store: FleetStore) -> None:
    calls: list[tuple[str, int]] = []

    def subscribe(name: str) -> None:
        def called(_before: FleetSnapshot, after: FleetSnapshot, _told: tuple[FleetEvent, ...]) -> None:
            assert store.snapshot is after
            calls.append((name, after.version))

        store.subscribe(called)

    for name in ("first", "second", "third"):
        subscribe(name)
    store.apply_now(WANTED)
    assert calls == [("first", 1), ("second", 1), ("third", 1)]


async def test_nobody_is_called_when_nothing_changed(store: FleetStore) -> None:
    store.apply_now(WANTED)
    swaps = Swaps(store)
    store.apply_now(report("nobody", 0))
    assert swaps.seen == []


async def test_ages_are_looked_at_when_nothing_else_happens(
    store: FleetStore, tasks: TaskScope, clock: SettableClock
) -> None:
    store.apply_now(WANTED, opened("gcp-1", 0, reported()))
    swaps = Swaps(store)
    tasks.spawn("store", store.run())
    clock.advance(5)
    await swaps.until(1)
    assert store.snapshot.nodes["gcp-1"].trust is Trust.AGEING


async def test_new_thresholds_hold_from_the_next_look(store: FleetStore, clock: SettableClock) -> None:
    store.apply_now(WANTED, opened("gcp-1", 0, reported()))
    clock.advance(5)
    store.thresholds = type(THRESHOLDS)(10.0, 20.0, 60.0)
    assert store.apply_now().nodes["gcp-1"].trust is Trust.FRESH
