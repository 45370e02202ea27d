"""The feed's own behaviour: coalescing and back-off, with a scripted watch and no real time."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest

from console.link.errors import LinkError
from console.link.feed import BACKOFF_SECONDS_MAX, REFUSED_SECONDS, Feed, backoff_seconds
from console.model.apply import FleetUpdate
from console.model.fleet_view import Connection, FleetView
from tests.fakes import fleet
from tests.fakes.operator_wire import whole_update


class _Scripted:
    """Each watch plays the next script; after the last one nothing happens any more."""

    def __init__(self, *scripts: list[FleetUpdate | LinkError], says_open: bool = False) -> None:
        """`says_open`: every watch tells at once that it stands."""
        self.says_open = says_open
        self.scripts = list(scripts)
        self.asked: list[tuple[str, int]] = []
        self.played = asyncio.Event()

    async def watch(self, boot_id: str, cursor: int, on_open: Callable[[], None]) -> AsyncGenerator[FleetUpdate, None]:
        self.asked.append((boot_id, cursor))
        if self.says_open:
            on_open()
        if not self.scripts:
            self.played.set()
            await asyncio.Event().wait()
        for step in self.scripts.pop(0):
            if isinstance(step, LinkError):
                raise step
            yield step


async def _run(script: _Scripted) -> tuple[list[FleetView], list[Connection], list[float]]:
    views: list[FleetView] = []
    connections: list[Connection] = []
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    feed = Feed(
        script,
        on_view=views.append,
        on_connection=lambda connection, _: connections.append(connection),
        coalesce_seconds=77.0,
        sleep=sleep,
        draw=lambda: 1.0,
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(feed.run())
        await script.played.wait()
        running.cancel()
    return views, connections, [pause for pause in pauses if pause != 77.0]


def _updates(count: int) -> list[FleetUpdate | LinkError]:
    whole = whole_update(fleet.small())
    return [replace(whole, cursor=cursor, reset=cursor == 1) for cursor in range(1, count + 1)]


async def test_a_burst_becomes_one_view() -> None:
    script = _Scripted(_updates(100))
    views, connections, _ = await _run(script)
    assert [view.cursor for view in views] == [100]
    assert connections[:2] == [Connection.CONNECTING, Connection.LIVE]
    assert script.asked[-1] == ("boot-1", 100)


async def test_pauses_grow_with_failures_in_a_row_and_start_anew_after_success() -> None:
    lost = LinkError("unavailable", "gone")
    no = LinkError("refused", "no")
    script = _Scripted([lost], [lost], [lost], [*_updates(1), lost], [lost], [no], [no], [no])
    _, connections, pauses = await _run(script)
    assert pauses == [0.25, 0.5, 1.0, 0.25, 0.5, 1.0, 2.0, REFUSED_SECONDS]
    assert connections[-1] is Connection.REFUSED


async def test_a_stream_that_stands_is_live_though_nothing_comes() -> None:
    lost = LinkError("unavailable", "gone")
    script = _Scripted([*_updates(1), lost], says_open=True)
    views, connections, _ = await _run(script)
    assert connections == [Connection.CONNECTING, Connection.LIVE, Connection.LOST, Connection.LIVE]
    assert [view.cursor for view in views] == [1]
    assert script.asked == [("", 0), ("boot-1", 1)]


async def test_an_empty_update_makes_it_live_and_leaves_the_fleet_as_it_was() -> None:
    lost = LinkError("unavailable", "gone")
    empty = FleetUpdate(boot_id="boot-1", cursor=1, now=fleet.NOW)
    for says_open in (False, True):
        script = _Scripted([*_updates(1), lost], [empty], says_open=says_open)
        views, connections, _ = await _run(script)
        assert connections[2:4] == [Connection.LOST, Connection.LIVE]
        assert views[-1] == replace(fleet.small(), cursor=1)


async def test_streams_that_open_and_end_at_once_are_tried_ever_more_slowly() -> None:
    lost = LinkError("unavailable", "gone")
    _, _, pauses = await _run(_Scripted([lost], [lost], [lost], says_open=True))
    assert pauses == [0.25, 0.5, 1.0]


async def test_a_failing_screen_ends_the_feed_with_its_own_error() -> None:
    def on_view(_: FleetView) -> None:
        raise RuntimeError("the screen broke")

    feed = Feed(_Scripted(_updates(1)), on_view=on_view, on_connection=lambda *_: None)
    with pytest.raises(RuntimeError, match="the screen broke"):
        await feed.run()


def test_the_pause_has_limits_and_chance() -> None:
    assert backoff_seconds(1000, 1.0) == BACKOFF_SECONDS_MAX
    assert backoff_seconds(0, 0.0) == 0.125
    assert backoff_seconds(3, 0.0) < backoff_seconds(3, 0.5) < backoff_seconds(3, 1.0)
