"""What the console's tests share: a client that writes down what it is asked, a feed that a test moves, a stopped clock."""

import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from html import unescape
from typing import Any, TypeVar

from textual.pilot import Pilot
from textual.widgets import Input

from console.app import StokerApp
from console.link.errors import LinkError
from console.messages import OnConnection, OnView
from console.model.answers import ActionAnswer
from console.model.apply import FleetUpdate
from console.model.fleet_view import Connection, FleetView
from console.widgets.fleet_table import FleetTable
from tests.fakes import fleet

Shown = TypeVar("Shown")


class FakeClient:
    """Follows `console.actions.OperatorCalls`: every call is kept, and answered with `answer` or `error`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answer = ActionAnswer(
            ("Send it no new requests.", "Wait for 50 requests.", "Stop it."), ("p-1",), changed=True
        )
        self.error: LinkError | None = None
        self.logs: dict[str, tuple[str, ...]] = {}
        self.closed = False

    @property
    def real_calls(self) -> list[tuple[str, dict[str, Any]]]:
        """Those that were not dry runs."""
        return [(name, arguments) for name, arguments in self.calls if not arguments["dry_run"]]

    async def _called(self, name: str, **arguments: Any) -> ActionAnswer:
        self.calls.append((name, arguments))
        if self.error is not None:
            raise self.error
        return self.answer

    async def place(
        self,
        model: str,
        node: str,
        *,
        source: str = "",
        engine_args: Iterable[str] = (),
        device_ids: Iterable[str] = (),
        deployment: str = "",
        dry_run: bool = False,
    ) -> ActionAnswer:
        return await self._called(
            "place",
            model=model,
            node=node,
            source=source,
            engine_args=tuple(engine_args),
            device_ids=tuple(device_ids),
            deployment=deployment,
            dry_run=dry_run,
        )

    async def remove(self, *, placement_id: str, reason: str = "", dry_run: bool = False) -> ActionAnswer:
        return await self._called("remove", placement_id=placement_id, reason=reason, dry_run=dry_run)

    async def drain(
        self, *, placement_id: str = "", node: str = "", reason: str = "", dry_run: bool = False
    ) -> ActionAnswer:
        return await self._called("drain", placement_id=placement_id, node=node, reason=reason, dry_run=dry_run)

    async def resume(
        self, *, placement_id: str = "", node: str = "", reason: str = "", dry_run: bool = False
    ) -> ActionAnswer:
        return await self._called("resume", placement_id=placement_id, node=node, reason=reason, dry_run=dry_run)

    async def restart(
        self,
        *,
        placement_id: str,
        engine_args: Iterable[str] | None = None,
        reason: str = "",
        dry_run: bool = False,
    ) -> ActionAnswer:
        return await self._called("restart", placement_id=placement_id, reason=reason, dry_run=dry_run)

    async def engine_log(self, engine_id: str, *, lines_max: int = 0) -> tuple[str, ...]:
        if self.error is not None:
            raise self.error
        return self.logs.get(engine_id, ())

    async def forget_node(self, node: str, *, dry_run: bool = False) -> ActionAnswer:
        return await self._called("forget_node", node=node, dry_run=dry_run)

    async def watch(self, boot_id: str, cursor: int, on_open: Callable[[], None]) -> AsyncIterator[FleetUpdate]:
        """Never called: the feed is a fake as well."""
        for _ in range(0):
            yield FleetUpdate(boot_id, cursor)

    async def close(self) -> None:
        self.closed = True


class FakeFeed:
    """Hands on one view at the start, and afterwards what a test tells it to."""

    def __init__(self, view: FleetView | None, connection: Connection) -> None:
        self._first = view
        self._connection = connection
        self.on_view: OnView = lambda _: None
        self.on_connection: OnConnection = lambda *_: None

    async def run(self) -> None:
        self.on_connection(self._connection, "")
        if self._first is not None:
            self.on_view(self._first)


class Clock:
    """Stands still until a test moves it."""

    def __init__(self, now: datetime = fleet.NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Stage:
    """An app with a fake on either side."""

    def __init__(
        self,
        view: FleetView | None,
        *,
        connection: Connection = Connection.LIVE,
        theme: str | None = None,
        read_only: bool = False,
    ) -> None:
        self.pilot: Pilot[None]
        self.client = FakeClient()
        self.clock = Clock()
        self.feed = FakeFeed(view, connection)
        self.app = StokerApp(
            lambda: self.client,
            credentials_name="prod-eu",
            read_only=read_only,
            theme=theme,
            feed_factory=self._feed,
            clock=self.clock,
        )

    def _feed(self, _client: object, on_view: OnView, on_connection: OnConnection) -> FakeFeed:
        self.feed.on_view, self.feed.on_connection = on_view, on_connection
        return self.feed

    @asynccontextmanager
    async def running(self, size: tuple[int, int] = (120, 40)) -> AsyncIterator["Stage"]:
        async with self.app.run_test(size=size) as pilot:
            self.pilot = pilot
            await pilot.pause()
            await pilot.pause()
            yield self

    # ---- what a test does

    async def settled(self) -> None:
        await self.pilot.pause()
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
        await self.settled()

    async def order(self, line: str) -> None:
        """Types a line after `:`."""
        await self.press("colon")
        self.app.screen.query_one(Input).value = line
        await self.press("enter")

    async def show(self, view: FleetView) -> None:
        """The feed has a new view."""
        self.feed.on_view(view)
        await self.settled()

    async def link(self, connection: Connection, note: str = "") -> None:
        self.feed.on_connection(connection, note)
        await self.settled()

    async def seconds_go_by(self, seconds: float) -> None:
        self.clock.go_on(seconds)
        if self.app.front is not None:
            self.app.front.tick(self.app.moment)
        await self.settled()

    async def until(self, true: Callable[[], bool]) -> None:
        """Lets the app work until it is so; fails when it never becomes so."""
        for _ in range(200):
            if true():
                return
            await self.pilot.pause()
        raise AssertionError("it never became so")

    # ---- what a test sees

    def on(self, kind: type[Shown]) -> Shown:
        """The screen in front, which must be of this kind."""
        screen: object = self.app.screen
        assert isinstance(screen, kind), f"on {screen}"
        return screen

    def table(self, name: str) -> FleetTable[Any]:
        return self.app.screen.query_one(f"#{name}", FleetTable)

    def row(self, table: str, key: str) -> str:
        """A row of a table as it reads."""
        return "".join(text for text, _ in self.table(table).line_of(key))

    @property
    def text(self) -> str:
        """All that is on the screen."""
        drawn = re.sub(r"<style.*?</style>", "", self.app.export_screenshot(), flags=re.DOTALL)
        lines: dict[str, str] = {}
        for y, text in re.findall(r'<text[^>]* y="([0-9.]+)"[^>]*>([^<]*)</text>', drawn):
            lines[y] = lines.get(y, "") + unescape(text).replace("\xa0", " ")
        return "\n".join(lines.values())

    @property
    def told(self) -> str:
        """What the notifications say."""
        return "\n".join(each.message for each in self.app._notifications)
