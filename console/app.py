"""The console: one Textual app that holds the view, hands it down to the screen in front, and takes messages from it.

Called by `stoker console`; tests give it a feed of their own. It never touches the wire itself (the feed and the client do)
and draws nothing itself (screens do); actions go through `console.dialogs.act`.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Input

from console.clock import utc_now
from console.command_words import Order
from console.dialogs.act import Hand
from console.dialogs.command_line import CommandLine
from console.dialogs.log_view import LogView
from console.link.feed import Feed
from console.messages import (
    ActionsAsked,
    CameToFront,
    ConnectionChanged,
    ConsoleClient,
    FeedFactory,
    GoTo,
    LogAsked,
    OnConnection,
    OnView,
    Runs,
    ViewArrived,
)
from console.model.fleet_view import Connection, FleetView
from console.model.format import clean
from console.model.overview import Moment
from console.screens.events import EventsScreen
from console.screens.fleet_screen import FleetScreen
from console.screens.help import HelpScreen
from console.screens.overview import OverviewScreen
from console.screens.routes import follow, go_to
from console.themes import DEFAULT_THEME, THEMES, theme_named
from console.widgets.palette import FleetCommands
from console.widgets.top_line import Crumbs

_HERE = Path(__file__).parent
_STYLES = sorted(file for folder in ("widgets", "screens", "dialogs") for file in (_HERE / folder).glob("*.tcss"))


def _feed(client: ConsoleClient, on_view: OnView, on_connection: OnConnection) -> Runs:
    return Feed(client, on_view=on_view, on_connection=on_connection)


class StokerApp(App[None]):
    TITLE = "stoker"
    CSS_PATH: ClassVar[Any] = _STYLES
    COMMANDS = App.COMMANDS | {FleetCommands}
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "mode('overview')", "Overview", show=False),
        Binding("2", "mode('events')", "Events", show=False),
        # Priority: handled before the next key is looked at, so that a pasted line goes into the prompt as a whole.
        Binding("colon", "command_line", "Go to", key_display=":", priority=True),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(
        self,
        client_factory: Callable[[], ConsoleClient],
        *,
        credentials_name: str,
        read_only: bool = False,
        theme: str | None = None,
        feed_factory: FeedFactory = _feed,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__()
        self._client_factory = client_factory
        self._feed_factory = feed_factory
        self._clock = clock
        self._ahead = timedelta()  # the daemon's clock minus this machine's
        self._connection, self._note = Connection.CONNECTING, ""
        self.credentials_name, self.read_only = credentials_name, read_only
        self.view = FleetView()
        self.first_view = asyncio.Event()
        for each in THEMES:
            self.register_theme(each)
        self.theme = theme_named(theme or DEFAULT_THEME) or theme or DEFAULT_THEME
        for name, screen in (("overview", OverviewScreen), ("events", EventsScreen)):
            self.add_mode(name, lambda screen=screen: screen(credentials_name, read_only=read_only))  # type: ignore[misc]

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The tones, so that Textual's own themes can be worn too."""
        return dict(THEMES[0].variables)

    async def on_mount(self) -> None:
        await self.switch_mode("overview")
        self.client = self._client_factory()
        feed = self._feed_factory(self.client, self._on_view, self._on_connection)
        self.run_worker(feed.run(), name="feed", group="feed", exit_on_error=True)
        self.set_interval(1.0, self._tick)

    async def on_unmount(self) -> None:
        if hasattr(self, "client"):
            await self.client.close()

    # ---- from the feed, down to the screen in front

    def _on_view(self, view: FleetView) -> None:
        self.post_message(ViewArrived(view))

    def _on_connection(self, connection: Connection, note: str) -> None:
        self.post_message(ConnectionChanged(connection, note))

    @property
    def moment(self) -> Moment:
        server = self.view.server
        return Moment(
            now=self._clock() + self._ahead if self.view.now else None,
            connection=self._connection,
            note=self._note,
            as_of=self.view.now,
            stale_seconds=server.stale_seconds if server else None,
            lost_seconds=server.lost_seconds if server else None,
        )

    @property
    def front(self) -> FleetScreen | None:
        """The topmost screen that shows the fleet, maybe below a dialog."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, FleetScreen)), None)

    def on_view_arrived(self, message: ViewArrived) -> None:
        told = message.view.now
        if told is not None and told != self.view.now:
            self._ahead = told - self._clock()
        self.view = message.view
        self._hand_down()
        if self.view.server is not None:
            self.first_view.set()

    def on_connection_changed(self, message: ConnectionChanged) -> None:
        self._connection, self._note = message.connection, message.note
        self._hand_down()

    def on_came_to_front(self, _message: CameToFront) -> None:
        self._hand_down()

    def _hand_down(self) -> None:
        if self.front is not None:
            self.front.show(self.view, self.moment)

    def _tick(self) -> None:
        if self.front is not None:
            self.front.tick(self.moment)

    # ---- from screens and keys

    def on_go_to(self, message: GoTo) -> None:
        go_to(self, message.topic, message.subject)

    async def on_crumbs_mode_chosen(self, message: Crumbs.ModeChosen) -> None:
        await self.action_mode(message.mode)

    def on_log_asked(self, message: LogAsked) -> None:
        self.push_screen(LogView(message.engine_id, lambda: self.client.engine_log(message.engine_id, lines_max=1000)))

    def on_actions_asked(self, message: ActionsAsked) -> None:
        self.run_worker(Hand(self, message.topic, message.subject).choose(), group="hand", exclusive=True)

    async def action_mode(self, mode: str) -> None:
        """To a mode as it was left; once more, to its first screen."""
        if mode != self.current_mode:
            await self.switch_mode(mode)
        else:
            while len(self.screen_stack) > 1:
                await self.pop_screen()

    def action_help(self) -> None:
        if self.front is not None:
            self.push_screen(HelpScreen(clean(self.front.place) or self.front.mode, self.front.HELP_LINES))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A colon that is typed into a field, or over a dialog, is a colon."""
        if action == "command_line":
            return not (isinstance(self.focused, Input) or isinstance(self.screen, ModalScreen))
        return super().check_action(action, parameters)

    async def action_command_line(self) -> None:
        line = CommandLine(self.view)
        await self.push_screen(line, self.obey)
        line.take_keys()  # what is typed or pasted right behind the colon belongs to the line, not to this screen's keys

    def obey(self, order: Order | None) -> None:
        """Follows a line of the `:` prompt or of the palette."""
        if order is not None:
            self.run_worker(follow(self, order), group="hand", exclusive=True)
