"""One node: who and where it is, its devices and what they reach, its engines, what is wanted there, what happened.

Opened by `console.app` for a `GoTo` of a node. Enter on an engine or a placement opens that engine.
"""

from collections.abc import Iterable

from textual.containers import Horizontal
from textual.widget import Widget

from console.model.fleet_view import EngineRow, EventRow, FleetView, NodeRow
from console.model.format import UNKNOWN, duration, instant, seconds, text_or_unknown
from console.model.hardware import DeviceHealthRow
from console.model.overview import Moment, Topic, events_about, is_stale
from console.model.select import engine_fields, event_fields
from console.screens.fleet_screen import FleetScreen
from console.widgets.engine_columns import COLUMNS as ENGINE_COLUMNS
from console.widgets.fleet_table import FleetTable
from console.widgets.health_columns import HEALTH_COLUMNS, fault_lines, health_fields
from console.widgets.list_columns import (
    CEILING_COLUMNS,
    EVENT_COLUMNS,
    PLACEMENT_COLUMNS,
    CeilingLine,
    PlacementLine,
    ceiling_lines,
    placement_lines,
)
from console.widgets.node_columns import devices_in_words
from console.widgets.panel import Panel, facts
from console.widgets.spans import CROSS, Line, Tone, say, span
from console.widgets.states import age_and_trust, node_state

HERE = tuple(column for column in ENGINE_COLUMNS if column.key not in ("node", "provider", "region"))


class NodeScreen(FleetScreen):
    AUTO_FOCUS = "#engines"
    VERTICAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-short"), (30, "-tall")]  # noqa: RUF012 - as Textual declares it
    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as Textual declares it
    HELP_LINES = (
        "Devices: one line per dtype. Reaches and moves are the two roofs, their ratio is the ridge.",
        "Their source: measured on this device, configured by a person, the vendor's table, or assumed.",
        "How they do: shown with 30 lines or more. ECC: errors corrected, uncorrected, and rows remapped.",
        "Placements: what is wanted here beside what the node told; ◐ means that the latest change is not carried out yet.",
    )

    def __init__(self, name: str, credentials_name: str, *, read_only: bool) -> None:
        super().__init__(credentials_name, read_only=read_only)
        self.node_name = name
        self.place = f"node {name}"
        self._last: NodeRow | None = None

    def compose_body(self) -> Iterable[Widget]:
        yield Panel(id="headline")
        with Horizontal(id="upper"):
            yield Panel("Node", id="facts")
            yield FleetTable(
                CEILING_COLUMNS, fields=_ceiling_fields, empty=_nothing("No device was told."), id="devices"
            )
        yield FleetTable(HEALTH_COLUMNS, fields=health_fields, empty=_nothing("No device tells how it does."),
                         id="health")  # fmt: skip
        yield FleetTable(HERE, fields=engine_fields, is_old=is_stale, sort="engine", empty=_nothing("No engine here."),
                         id="engines")  # fmt: skip
        yield FleetTable(PLACEMENT_COLUMNS, fields=_placement_fields, sort="placement",
                         empty=_nothing("Nothing is placed here.  a p places a model."), id="placements")  # fmt: skip
        yield FleetTable(EVENT_COLUMNS, fields=event_fields, follow=True, header=False,
                         empty=_nothing("Nothing happened here in the events kept."), id="events")  # fmt: skip

    def show_view(self, view: FleetView, moment: Moment) -> None:
        row = view.nodes.get(self.node_name)
        gone = row is None
        row = row or self._last
        self._last = row
        headline = self.query_one("#headline", Panel)
        if row is None:
            headline.show_lines([say(f"There is no node {self.node_name}.", Tone.WARN)])
            return
        lines = [_headline(row, moment)]
        if gone:
            lines.append(say("○ It is gone from the fleet; this is what was known last.", Tone.WARN))
        if row.cordoned:
            lines.append((span("cordoned: ", Tone.DIM), span(row.cordon_reason or "no reason was given")))
        headline.show_lines([*lines, *fault_lines(row.health)])
        self.query_one("#facts", Panel).show_lines(_facts(row, moment))
        here = {key: engine for key, engine in view.engines.items() if engine.node == self.node_name}
        happened = events_about(view, node=self.node_name)
        self._fill("devices", "Devices, what they reach", ceiling_lines(row.devices), moment)
        self._fill("health", "How they do", {health.device_id: health for health in row.health}, moment)
        self._fill("engines", "Engines", here, moment)
        wanted = placement_lines(view, self.node_name)
        self._fill("placements", "Placements, desired and observed", wanted, moment)
        self._fill("events", "Events", {str(event.event_id): event for event in happened}, moment)

    def _fill(
        self,
        name: str,
        title: str,
        rows: dict[str, EngineRow]
        | dict[str, PlacementLine]
        | dict[str, CeilingLine]
        | dict[str, EventRow]
        | dict[str, DeviceHealthRow],
        moment: Moment,
    ) -> None:
        table = self.query_one(f"#{name}", FleetTable)
        table.show_rows(rows, moment)
        table.entitle(title, None if name in ("devices", "health") else len(rows))

    @property
    def subject(self) -> tuple[Topic, str] | None:
        return Topic.NODE, self.node_name

    def target_of(self, table: FleetTable[object], key: str) -> tuple[Topic, str] | None:
        return (Topic.ENGINE, key) if table.id in ("engines", "placements") else None


def _headline(row: NodeRow, moment: Moment) -> Line:
    where = " · ".join(text_or_unknown(part) for part in (row.provider, row.region, row.zone))
    return (
        *node_state(row, moment),
        span("    last report ", Tone.DIM),
        *age_and_trust(row, moment, 20),
        span("  ", Tone.DIM),
        span(row.name, Tone.STRONG),
        span("  simulated" if row.simulated else "", Tone.WARN),
        span(f"  {devices_in_words(row.devices)}", Tone.PLAIN),
        span(f"  {where}", Tone.DIM),
    )


def _facts(row: NodeRow, moment: Moment) -> list[Line]:
    labels = "  ".join(f"{key}={value}" for key, value in sorted(row.labels.items()))
    left_seconds = (
        None
        if row.certificate_not_after is None or moment.now is None
        else (row.certificate_not_after - moment.now).total_seconds()
    )
    ends = UNKNOWN if left_seconds is None else "ended" if left_seconds <= 0 else f"ends in {duration(left_seconds)}"
    error = row.clock_error_seconds
    return facts(
        [
            ("stream", say("connected") if row.connected else say(f"{CROSS} cut", Tone.WARN)),
            ("agent", say(text_or_unknown(row.agent_version))),
            ("system", say(text_or_unknown(row.os))),
            ("clock", say(UNKNOWN if error is None else f"{'+' if error >= 0 else '-'}{seconds(abs(error))} off")),
            ("certificate", say(ends)),
            ("labels", say(labels or UNKNOWN)),
            ("reported", say(instant(row.last_report_at), Tone.DIM)),
        ]
    )


def _nothing(text: str) -> tuple[Line, ...]:
    return (say(text, Tone.DIM),)


def _ceiling_fields(line: CeilingLine) -> dict[str, str]:
    return {
        "device": line.device.device_id,
        "kind": line.device.kind,
        "dtype": line.ceiling.dtype if line.ceiling else "",
    }


def _placement_fields(line: PlacementLine) -> dict[str, str]:
    row = line.placement
    return {"placement": row.placement_id, "model": row.model, "desired": row.desired.value, "by": row.created_by}
