"""The event log: the newest at the end, followed while the cursor is there; what the cursor is on is shown whole below.

Shown by `console.app` as mode 2. Enter opens the engine or the node that an event is about.
"""

from collections.abc import Iterable

from textual.widget import Widget

from console.model.fleet_view import EventRow, FleetView
from console.model.format import UNKNOWN, instant
from console.model.overview import Moment, Topic
from console.model.select import event_fields
from console.screens.fleet_screen import FleetScreen
from console.widgets.fleet_table import FleetTable
from console.widgets.list_columns import EVENT_COLUMNS
from console.widgets.panel import Panel
from console.widgets.spans import Line, Tone, say, span
from console.widgets.states import SEVERITY_LOOKS

NO_EVENTS: tuple[Line, ...] = (
    say("Nothing happened yet.", Tone.STRONG),
    (span("Older ones are in the history:  ", Tone.DIM), span("stoker events --since 1d", Tone.ACCENT)),
)


class EventsScreen(FleetScreen):
    AUTO_FOCUS = "#log"
    mode = "events"
    HELP_LINES = (
        "The newest event is last. With the cursor on it the log follows; move up and it stands still.",
        "/ filters: error   severity:warning   node:gcp-1   !engine_ready   All words must be found.",
        "Enter opens what the event is about.",
    )

    def compose_body(self) -> Iterable[Widget]:
        yield FleetTable(EVENT_COLUMNS, fields=event_fields, follow=True, empty=NO_EVENTS, id="log")
        yield Panel("Event", id="whole")

    def show_view(self, view: FleetView, moment: Moment) -> None:
        table = self.query_one("#log", FleetTable)
        table.show_rows({str(event.event_id): event for event in view.events}, moment)
        table.entitle("Events", len(view.events))
        self._show_whole()

    def on_fleet_table_pointed(self, message: FleetTable.Pointed) -> None:
        message.stop()
        self._show_whole()

    def _show_whole(self) -> None:
        event = self._event(self.query_one("#log", FleetTable).cursor_key)
        self.query_one("#whole", Panel).show_lines(_whole(event) if event else [say(UNKNOWN, Tone.DIM)])

    def _event(self, key: str | None) -> EventRow | None:
        return next((event for event in reversed(self._view.events) if str(event.event_id) == key), None)

    def target_of(self, table: FleetTable[object], key: str) -> tuple[Topic, str] | None:
        event = self._event(key)
        if event is not None and event.engine_id in self._view.engines:
            return Topic.ENGINE, event.engine_id
        if event is not None and event.node in self._view.nodes:
            return Topic.NODE, event.node
        return None


def _whole(event: EventRow) -> list[Line]:
    symbol, word, tone = SEVERITY_LOOKS[event.severity]
    about = "  ".join(
        f"{label} {value}"
        for label, value in (
            ("engine", event.engine_id),
            ("node", event.node),
            ("device", event.device_id),
            ("model", event.model),
        )
        if value
    )
    lines: list[Line] = [
        (span(f"{symbol} {word}  ", tone), span(event.kind, Tone.STRONG), span(f"  {instant(event.at)}", Tone.DIM),
         span(f"  by {event.actor or UNKNOWN}", Tone.DIM)),
        say(about or UNKNOWN, Tone.DIM),
        say(event.message),
    ]  # fmt: skip
    if event.action:
        lines.append((span("do: ", Tone.DIM), span(event.action, Tone.STRONG)))
    return lines
