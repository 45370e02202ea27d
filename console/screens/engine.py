"""One engine: its KV cache, batch, place on the roofline, latencies, log when it failed, and what happened to it.

Opened by `console.app` for a `GoTo` of an engine. It shows what the view holds; an engine that goes away stays as it was
last known, and says so.
"""

from collections.abc import Iterable

from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget

from console.model.fleet_view import EngineRow, FleetView
from console.model.format import clean_lines
from console.model.ledgers import ledgers_of
from console.model.overview import Moment, Topic, events_about
from console.model.select import event_fields
from console.screens.fleet_screen import FleetScreen
from console.widgets import engine_panels
from console.widgets.engine_columns import intensity_of
from console.widgets.fleet_table import FleetTable
from console.widgets.inside_panel import bill_lines, inside_lines
from console.widgets.list_columns import EVENT_COLUMNS
from console.widgets.memory_panel import memory_lines
from console.widgets.panel import Panel
from console.widgets.roofline import roof_of, roofline
from console.widgets.spans import Line, Tone, say, span

NO_EVENTS: tuple[Line, ...] = (say("Nothing happened to it in the events kept.", Tone.DIM),)


class EngineScreen(FleetScreen):
    AUTO_FOCUS = "#body"
    VERTICAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-short"), (52, "-tall")]  # noqa: RUF012 - as Textual declares it
    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as Textual declares it
    HELP_LINES = (
        "KV cache: tokens held by live requests; cached but idle blocks do not count as held.",
        "Roofline: ● is the engine now. Below the slope memory limits it, below the flat roof compute; ┊ is the ridge.",
        "Both axes of it are logarithmic.",
        "Memory: █ weights ▓ KV cache ▒ activations and graphs ░ others ─ free. Headroom: what KV could still be given.",
        "Inside: what the plug-in in the engine tells. Without it, or when it is degraded, figures are of /metrics.",
        "Recomputed: tokens that had been cached here, were evicted, and were computed again.",
        "Latencies: ● is the median, ┫ the 95th percentile, on a logarithmic line.",
        "The log is the last that a failed engine wrote; l reads more of it from its node, also while it runs.",
    )

    def __init__(self, engine_id: str, credentials_name: str, *, read_only: bool) -> None:
        super().__init__(credentials_name, read_only=read_only)
        self.engine_id = engine_id
        self.place = f"engine {engine_id}"
        self._last: EngineRow | None = None

    def compose_body(self) -> Iterable[Widget]:
        yield Panel(id="headline")
        with VerticalScroll(id="body"), Container(id="grid"):
            with Vertical(classes="side"):
                yield Panel("KV cache", id="kv")
                yield Panel("Memory of its devices", id="memory")
                yield Panel("Batch", id="batch")
                yield Panel("Latency", id="latency")
            with Vertical(classes="side"):
                yield Panel("Roofline, of one device", id="roof")
                yield Panel("Inside", id="inside")
                yield Panel("Recomputed, since it was evicted", id="bill")
                yield Panel("Engine", id="identity")
        with Horizontal(id="below"):
            with VerticalScroll(id="logbox") as box:
                box.border_title = Content("Log, its last lines")
                yield Panel(id="log")
            yield FleetTable(
                EVENT_COLUMNS, fields=event_fields, follow=True, header=False, empty=NO_EVENTS, id="events"
            )

    def show_view(self, view: FleetView, moment: Moment) -> None:
        row = view.engines.get(self.engine_id)
        gone = row is None
        row = row or self._last
        self._last = row
        if row is None:
            self._panel("headline").show_lines([say(f"There is no engine {self.engine_id}.", Tone.WARN)])
            return
        node = view.nodes.get(row.node)
        head = engine_panels.headline(row, moment, simulated=node is not None and node.simulated)
        if gone:
            head.append(say("○ It is gone from the fleet; this is what was known last.", Tone.WARN))
        width = self._panel("kv").content_size.width or 50
        self._panel("headline").show_lines(head)
        self._panel("kv").show_lines(engine_panels.kv_lines(row, width))
        ledgers = ledgers_of(row, node)
        self._panel("memory").show_lines(memory_lines(ledgers, row.engine_id, moment, width))
        self._panel("inside").show_lines(inside_lines(row, moment))
        self._panel("bill").show_lines(bill_lines(row))
        self._panel("batch").show_lines(engine_panels.batch_lines(row))
        self._panel("latency").show_lines(engine_panels.latency_lines(row, width))
        self._panel("identity").show_lines(engine_panels.identity_lines(row, moment))
        self._show_roof(row, view)
        self._show_log(clean_lines(row.log_tail))
        events = self.query_one("#events", FleetTable)
        happened = events_about(view, engine_id=self.engine_id)
        events.show_rows({str(event.event_id): event for event in happened}, moment)
        events.entitle("Events", len(happened))

    def _show_log(self, lines: tuple[str, ...]) -> None:
        """The last line is the one that tells: it is kept in sight."""
        box = self.query_one("#logbox", VerticalScroll)
        box.display = bool(lines)
        self.set_class(bool(lines), "-failed")
        panel = self._panel("log")
        told = tuple(say(text, Tone.BAD if _is_error(text) else Tone.PLAIN) for text in lines)
        if told != panel.lines:
            panel.show_lines(told)
            self.call_after_refresh(box.scroll_end, animate=False)

    def _show_roof(self, row: EngineRow, view: FleetView) -> None:
        panel = self._panel("roof")
        roof = roof_of(row, view)
        flops = row.working_point.flops_per_second if row.working_point else None
        width = panel.content_size.width or 50
        lines = [engine_panels.roof_words(row), *roofline(roof, intensity_of(row), flops, width, 11)]
        source = row.ridge_source or (roof.source if roof else "")
        panel.show_lines([*lines, (span("ceilings: ", Tone.DIM), span(source or "unknown", Tone.DIM))])

    def _panel(self, name: str) -> Panel:
        return self.query_one(f"#{name}", Panel)

    def on_panel_widened(self, message: Panel.Widened) -> None:
        message.stop()
        self.show(self._view, self._moment)

    @property
    def subject(self) -> tuple[Topic, str] | None:
        return Topic.ENGINE, self.engine_id

    def target_of(self, table: FleetTable[object], key: str) -> tuple[Topic, str] | None:
        return None


def _is_error(text: str) -> bool:
    return text.startswith(("ERROR", "CRITICAL", "Traceback")) or "Error:" in text
