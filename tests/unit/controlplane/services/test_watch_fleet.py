"""Watching from a cursor on: everything once, nothing twice, whatever happens to the watcher."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controlplane.fleet.diff import Changes
from controlplane.fleet.events import DesiredChanged
from controlplane.fleet.history import FleetEvent
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.tasks import TaskScope
from controlplane.services.watch_fleet import STEPS_MAX, Step, WatchFleet
from tests.support.clock import SettableClock
from tests.support.fleet import THRESHOLDS, at, desired, enrolled, opened, placed, report, reported


class Watched:
    """A fleet that is watched; `beat` makes something happen in it."""

    def __init__(self) -> None:
        self.store = FleetStore(SettableClock(), THRESHOLDS)
        self.events = EventLog([], 0, lambda _: None)
        self.store.subscribe(lambda _before, _after, told: self.events.append(told))
        self.gateway = "starting"
        self.watch = WatchFleet(
            "boot-1", self.store, self.events, lambda: self.gateway, step_seconds=0.001, vitals_seconds=0.01
        )
        self.tasks = TaskScope()
        self.seconds = 0
        self.store.apply_now(DesiredChanged(desired([enrolled("gcp-1")], [placed()])), opened("gcp-1", 0, reported()))

    def beat(self) -> None:
        self.seconds += 1
        self.store.apply_now(report("gcp-1", self.seconds, reported()))

    def tell(self, kind: str) -> None:
        event = self.events.recent()[0]
        self.events.append([FleetEvent(at(0), event.severity, kind, kind)])

    async def steps_made(self, count: int) -> None:
        """Until the fleet has made so many steps, one for each beat."""
        while self.watch.whole().cursor < count:
            before = self.watch.whole().cursor
            self.beat()
            async with asyncio.timeout(10):
                async for step in self.watch.watch("boot-1", before):
                    if step.cursor > before:
                        break


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    made.tasks.spawn("watch", made.watch.run())
    await made.steps_made(2)
    yield made
    await made.tasks.close()


@asynccontextmanager
async def watching(watched: Watched, boot_id: str = "", cursor: int = 0) -> AsyncIterator[AsyncIterator[Step]]:
    stream = watched.watch.watch(boot_id, cursor)
    try:
        yield stream
    finally:
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator


async def next_step(stream: AsyncIterator[Step]) -> Step:
    async with asyncio.timeout(10):
        return await anext(stream)


async def test_first_everything_then_what_changed(watched: Watched) -> None:
    async with watching(watched) as stream:
        first = await next_step(stream)
        assert first.changes is None
        assert set(first.snapshot.engines) == {"llama@gcp-1"}
        assert [event.kind for event in first.events] == ["node_connected", "engine_ready"]
        watched.beat()
        second = await next_step(stream)
        assert second.cursor == first.cursor + 1
        assert second.changes is not None
        assert second.changes == Changes(nodes=frozenset({"gcp-1"}), engines=frozenset({"llama@gcp-1"}))
        assert second.events == ()


@pytest.mark.parametrize("boot_id", ["", "another boot"])
async def test_the_cursor_of_another_daemon_starts_with_everything(watched: Watched, boot_id: str) -> None:
    async with watching(watched, boot_id, watched.watch.whole().cursor) as stream:
        assert (await next_step(stream)).changes is None


async def test_a_cursor_of_this_daemon_goes_on_where_it_was(watched: Watched) -> None:
    cursor = watched.watch.whole().cursor
    await watched.steps_made(cursor + 3)
    async with watching(watched, "boot-1", cursor) as stream:
        steps = [await next_step(stream) for _ in range(3)]
    assert [step.cursor for step in steps] == [cursor + 1, cursor + 2, cursor + 3]
    assert all(step.changes is not None for step in steps)


async def test_a_watcher_of_a_quiet_fleet_is_answered_at_once(watched: Watched) -> None:
    cursor = watched.watch.whole().cursor
    async with watching(watched, "boot-1", cursor) as stream:
        step = await next_step(stream)
    assert (step.cursor, step.changes, step.events) == (cursor, Changes(), ())


async def test_what_changed_of_the_daemon_alone_is_told_once(watched: Watched) -> None:
    cursor = watched.watch.whole().cursor
    async with watching(watched, "boot-1", cursor) as stream:
        await next_step(stream)
        watched.gateway = "serving"
        step = await next_step(stream)
        assert (step.cursor, step.changes, step.events) == (cursor + 1, Changes(), ())
        watched.beat()
        assert (await next_step(stream)).changes != Changes()


@pytest.mark.parametrize("ahead", [1, 1000])
async def test_a_cursor_from_the_future_starts_with_everything(watched: Watched, ahead: int) -> None:
    async with watching(watched, "boot-1", watched.watch.whole().cursor + ahead) as stream:
        assert (await next_step(stream)).changes is None


async def test_who_fell_behind_is_told_everything_again(watched: Watched) -> None:
    cursor = watched.watch.whole().cursor
    async with watching(watched, "boot-1", cursor) as slow:
        assert (await next_step(slow)).cursor == cursor
        watched.beat()
        assert (await next_step(slow)).cursor == cursor + 1
        await watched.steps_made(cursor + STEPS_MAX + 10)
        behind = await next_step(slow)
        assert behind.changes is None
        assert behind.cursor == cursor + STEPS_MAX + 10
    async with watching(watched, "boot-1", cursor) as returned:
        assert (await next_step(returned)).changes is None


async def test_the_oldest_cursor_that_is_still_reached(watched: Watched) -> None:
    await watched.steps_made(STEPS_MAX + 10)
    newest = watched.watch.whole().cursor
    async with watching(watched, "boot-1", newest - STEPS_MAX) as stream:
        step = await next_step(stream)
        assert (step.changes is None, step.cursor) == (False, newest - STEPS_MAX + 1)
    async with watching(watched, "boot-1", newest - STEPS_MAX - 1) as stream:
        assert (await next_step(stream)).changes is None


async def test_each_event_is_told_once_also_those_between_two_steps(watched: Watched) -> None:
    """Watchers who come at any moment, with events falling at any moment."""
    streams = []
    for index in range(20):
        watched.tell(f"event_{index}")
        stream = watched.watch.watch("", 0)
        streams.append((index, stream, [event.kind for event in (await next_step(stream)).events]))
        if index % 3 == 0:
            await watched.steps_made(watched.watch.whole().cursor + 1)
    watched.tell("last")
    for _, stream, seen in streams:
        while "last" not in seen:
            seen.extend(event.kind for event in (await next_step(stream)).events)
        told = [kind for kind in seen if kind.startswith("event_")]
        assert told == [f"event_{index}" for index in range(20)]
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_a_burst_is_one_step(watched: Watched) -> None:
    cursor = watched.watch.whole().cursor
    async with watching(watched, "boot-1", cursor) as stream:
        await next_step(stream)
        for _ in range(50):
            watched.beat()
        step = await next_step(stream)
    assert step.snapshot is watched.store.snapshot


async def test_a_model_that_is_gone_is_told(watched: Watched) -> None:
    async with watching(watched) as stream:
        await next_step(stream)
        watched.store.apply_now(DesiredChanged(desired([enrolled("gcp-1")])), report("gcp-1", 50))
        step = await next_step(stream)
    assert step.removed_models == {"llama"}
    assert step.changes is not None
    assert step.changes.removed_placements == step.changes.removed_engines == {"llama@gcp-1"}


async def test_what_is_asked_for_once_is_as_of_now(watched: Watched) -> None:
    watched.beat()
    assert watched.watch.latest().snapshot is watched.store.snapshot
