"""The whole console on a real gRPC channel with mutual TLS: it sees, follows, loses, finds again, and acts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.app import StokerApp
from console.command_words import parse
from console.link.client import OperatorClient
from console.messages import ConnectionChanged, ViewArrived
from console.model.fleet_view import Connection
from console.screens.picture import take_screenshot
from console.screens.routes import NotFoundError
from console.widgets.fleet_table import FleetTable
from tests.fakes import fleet
from tests.fakes.operator_service import FakeOperatorService

SECONDS_MAX = 60.0


class WatchedApp(StokerApp):
    """Lets a test wait for whatever the feed tells."""

    def __init__(self, service: FakeOperatorService) -> None:
        super().__init__(lambda: OperatorClient.open(service.credentials), credentials_name="prod-eu")
        self.told = asyncio.Event()

    def on_view_arrived(self, message: ViewArrived) -> None:
        super().on_view_arrived(message)
        self.told.set()

    def on_connection_changed(self, message: ConnectionChanged) -> None:
        super().on_connection_changed(message)
        self.told.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while not true():
                self.told.clear()
                await self.told.wait()


@asynccontextmanager
async def running(app: WatchedApp) -> AsyncIterator[Pilot[None]]:
    async with app.run_test(size=(120, 40)) as pilot:
        await app.until(lambda: app.moment.live and app.first_view.is_set())
        await pilot.pause()
        yield pilot


async def becomes(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not true():
            await pilot.pause()


async def test_it_follows_the_fleet_loses_it_and_finds_it_again() -> None:
    view = fleet.small()
    async with FakeOperatorService(view) as service:
        app = WatchedApp(service)
        async with running(app):
            row = replace(view.engines["llama-3-8b@gcp-1"], running=77)
            engines = app.screen.query_one("#engines", FleetTable)
            await service.until_watched()
            await service.show(replace(view, engines={**view.engines, row.engine_id: row}))
            await app.until(lambda: " 77 " in "".join(text for text, _ in engines.line_of(row.engine_id)))
            await service.stop()
            await app.until(lambda: app.moment.connection is Connection.LOST)
            assert row.engine_id in engines.order.keys
            await service.start()
            await app.until(lambda: app.moment.live)


async def test_a_drain_arrives_as_it_was_shown() -> None:
    async with FakeOperatorService(fleet.small()) as service:
        app = WatchedApp(service)
        async with running(app) as pilot:
            await pilot.press("a", "d")
            await becomes(pilot, lambda: bool(app.screen.query("#go:enabled")))
            await pilot.click("#go")
            await becomes(pilot, lambda: len(service.requests("Drain")) == 2)
        asked = [(request.placement_id, request.dry_run) for request in service.requests("Drain")]
        assert asked == [("llama-3-8b@gcp-1", True), ("llama-3-8b@gcp-1", False)]


async def test_a_screenshot_holds_the_fleet(tmp_path: Path) -> None:
    async with FakeOperatorService(fleet.small()) as service:
        file = tmp_path / "overview.svg"
        await take_screenshot(WatchedApp(service), file, (120, 40))
    drawn = await asyncio.to_thread(file.read_text)
    assert "llama-3-8b@gcp-1" in drawn
    assert "LIVE" in drawn


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("overview", ("What", "Models", "llama-3-8b@gcp-1")),
        ("engine llama-3-8b@gcp-1", ("Roofline", "KV&#160;cache", "10.20.")),
        ("node gcp-1", ("H100", "Placements", "carried&#160;out")),
        ("model llama-3-8b", ("llama-3-8b@oci-1",)),
        ("events", ("node_connected", "oci-1&#160;connected")),
        ("help", ("Help:", "Words")),
        ("drain gcp-1", ("Drain&#160;gcp-1", "Drain&#160;node&#160;gcp-1.")),
        ("place", ("Place&#160;a&#160;model",)),
    ],
)
async def test_a_screenshot_of_any_screen_has_its_data(tmp_path: Path, line: str, words: tuple[str, ...]) -> None:
    async with FakeOperatorService(fleet.small()) as service:
        file = tmp_path / "screen.svg"
        await take_screenshot(WatchedApp(service), file, (120, 60), parse(line))
        assert all(request.dry_run for request in service.requests("Drain"))
    drawn = await asyncio.to_thread(file.read_text)
    for word in words:
        assert word in drawn


async def test_a_screenshot_of_what_is_not_there_is_none(tmp_path: Path) -> None:
    async with FakeOperatorService(fleet.small()) as service:
        for line in ("node nope", "drain nope", "theme tartan"):
            with pytest.raises(NotFoundError, match=r"nope|tartan"):
                await take_screenshot(WatchedApp(service), tmp_path / "none.svg", (120, 40), parse(line))
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a directory of one test
