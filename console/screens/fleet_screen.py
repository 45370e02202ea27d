"""What all screens of the console share: the top line, the breadcrumbs, the filter and the footer.

`console.app` hands the view and the moment down with `show` and `tick`; a screen passes them on to its widgets and posts
`GoTo` and `ActionsAsked` upwards. A screen never talks to the control plane and reads no clock.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Input

from console.messages import ActionsAsked, CameToFront, GoTo, LogAsked
from console.model.fleet_view import FleetView
from console.model.overview import Moment, Topic
from console.widgets.fleet_table import FleetTable
from console.widgets.top_line import Crumbs, LinkBanner, TopLine

MODES: tuple[tuple[str, str], ...] = (("overview", "Overview"), ("events", "Events"))


class FleetScreen(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "act", "Act"),
        Binding("l", "log", "Log"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "back", "Back"),
    ]
    HELP_LINES: ClassVar[tuple[str, ...]] = ()  # what this screen shows, for `?`
    mode = "overview"  # which of MODES it belongs to
    place = ""  # its breadcrumb; "" for the first screen of a mode

    def __init__(self, credentials_name: str, *, read_only: bool) -> None:
        super().__init__()
        self._credentials_name = credentials_name
        self._read_only = read_only
        self._view = FleetView()
        self._moment = Moment()
        self._composed = False

    def compose(self) -> ComposeResult:
        yield TopLine(self._credentials_name, read_only=self._read_only)
        yield LinkBanner()
        yield Crumbs(MODES)
        yield from self.compose_body()
        yield Input(
            placeholder="words, patterns, !not, field:word   Enter keeps, Esc clears", id="filter", compact=True
        )
        yield Footer(show_command_palette=False)

    def compose_body(self) -> Iterable[Widget]:
        """The widgets between breadcrumbs and footer."""
        raise NotImplementedError

    def show_view(self, view: FleetView, moment: Moment) -> None:
        """Puts the view into this screen's widgets."""
        raise NotImplementedError

    # ---- from the app

    def show(self, view: FleetView, moment: Moment) -> None:
        self._view, self._moment = view, moment
        if not self._composed:
            return
        with suppress(NoMatches):  # a screen is taken down from its leaves upwards, while seconds still go by
            self._show_chrome()
            self.show_view(view, moment)

    @property
    def has_data(self) -> bool:
        """A fleet is in its widgets, not only the first words."""
        return self._composed and self._view.server is not None

    def tick(self, moment: Moment) -> None:
        """A second went by."""
        self.show(self._view, moment)

    def _show_chrome(self) -> None:
        self.query_one(TopLine).show(self._view.server, self._moment)
        self.query_one(LinkBanner).show(self._moment)
        trail = tuple(
            screen.place for screen in self.app.screen_stack if isinstance(screen, FleetScreen) and screen.place
        )
        self.query_one(Crumbs).show(self.mode, trail)
        self.set_class(self._moment.lost, "-lost")

    def on_mount(self) -> None:
        self._composed = True
        self.show(self._view, self._moment)

    def on_screen_resume(self) -> None:
        self.post_message(CameToFront())

    # ---- what a key or a click on a row means

    def target_of(self, table: FleetTable[object], key: str) -> tuple[Topic, str] | None:
        """What a row of one of this screen's tables stands for; None: nothing that has a screen."""
        raise NotImplementedError

    @property
    def subject(self) -> tuple[Topic, str] | None:
        """What this whole screen is about, when the focus points to nothing else."""
        return None

    @property
    def pointed(self) -> tuple[Topic, str] | None:
        """What an action now would be about."""
        table = self.focused
        if isinstance(table, FleetTable) and table.cursor_key is not None:
            found = self.target_of(table, table.cursor_key)
            if found is not None:
                return found
        return self.subject

    def on_fleet_table_opened(self, message: FleetTable.Opened) -> None:
        message.stop()
        target = self.target_of(message.table, message.key)
        if target is not None:
            self.post_message(GoTo(*target))

    def action_act(self) -> None:
        target = self.pointed
        self.post_message(ActionsAsked(*(target or (Topic.SERVER, ""))))

    def action_log(self) -> None:
        topic, subject = self.pointed or (Topic.SERVER, "")
        if topic is Topic.ENGINE:
            self.post_message(LogAsked(subject))
        else:
            self.notify("Point to an engine: its log is what l shows.", timeout=4)

    # ---- filter and back

    @property
    def filtered_table(self) -> FleetTable[object] | None:
        """The table that / is about: the one in focus, else the first."""
        if isinstance(self.focused, FleetTable):
            return self.focused
        return next(iter(self.query(FleetTable)), None)

    def action_filter(self) -> None:
        table = self.filtered_table
        if table is not None:
            self._filtering = table
            box = self.query_one("#filter", Input)
            box.value = table.order.pattern
            box.display = True
            box.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        if message.input.id == "filter" and message.input.display:
            self.apply_filter(self._filtering, message.value)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        if message.input.id == "filter":
            message.input.display = False
            self._filtering.focus()

    def apply_filter(self, table: FleetTable[object], pattern: str) -> None:
        table.filter_by(pattern)
        self.show_view(self._view, self._moment)

    def action_back(self) -> None:
        box = self.query_one("#filter", Input)
        table = self.filtered_table
        if box.display:
            box.display = False
            self.apply_filter(self._filtering, "")
            self._filtering.focus()
        elif table is not None and table.order.pattern:
            self.apply_filter(table, "")
        elif len(self.app.screen_stack) > 1:
            self.app.pop_screen()
