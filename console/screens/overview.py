"""The first screen: models, what is wrong, engines and nodes, on one page.

Shown by `console.app` as mode 1. Enter on a row opens it; on a model it filters the engines. Never asks for anything.
"""

import re
from collections.abc import Iterable

from textual.containers import Container
from textual.widget import Widget

from console.model.checks import checks
from console.model.fleet_view import EngineRow, EventRow, FleetView, ModelRow, Severity
from console.model.format import UNKNOWN, age, clock_time, seconds
from console.model.overview import (
    Moment,
    NodeState,
    Problem,
    Topic,
    is_stale,
    oldest_report_seconds,
    problems,
    quiet_since,
)
from console.model.select import engine_fields, event_fields
from console.screens.fleet_screen import FleetScreen
from console.widgets.engine_columns import COLUMNS as ENGINE_COLUMNS
from console.widgets.fleet_table import FleetTable
from console.widgets.list_columns import EVENT_COLUMNS, MODEL_COLUMNS, PROBLEM_COLUMNS
from console.widgets.node_columns import COLUMNS as NODE_COLUMNS
from console.widgets.node_columns import NodeLine, line_fields, line_is_stale, node_lines, node_states
from console.widgets.spans import Line, Tone, say, span

NO_NODES: tuple[Line, ...] = (
    say("No node has joined yet.", Tone.STRONG),
    (span("1  Make a join token here:  ", Tone.DIM), span("stoker node token", Tone.ACCENT)),
    (span("2  On the GPU node:         ", Tone.DIM), span("stoker-agent join …", Tone.ACCENT)),
)
NO_ENGINES: tuple[Line, ...] = (
    say("No engine runs.", Tone.STRONG),
    (span("Place a model:  ", Tone.DIM), span("stoker place MODEL --node NODE", Tone.ACCENT), span("  or press ", Tone.DIM),
     span("a p", Tone.ACCENT)),
)  # fmt: skip
NO_MODELS: tuple[Line, ...] = (say("No model is placed.", Tone.DIM),)
WAITING: tuple[Line, ...] = (say("○ Waiting for the control plane's first word …", Tone.DIM),)


class OverviewScreen(FleetScreen):
    AUTO_FOCUS = "#engines"
    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-narrow"), (100, "-wide"), (200, "-huge")]  # noqa: RUF012 - as Textual declares it
    VERTICAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-short"), (30, "-tall"), (60, "-towering")]  # noqa: RUF012 - as Textual declares it
    HELP_LINES = (
        "Models: how much of their KV cache live requests hold, engines that get requests of all, requests that wait.",
        "What is wrong: worst first, and Enter goes there. Below, engines and nodes, one line each.",
        "int / ridge: an engine's arithmetic intensity, in FLOP per byte, beside the ridge of its device.",
        "Left of the ridge ┊ memory limits a step and a larger batch is nearly free; right of it compute does.",
        f"After an age: ~ ageing, ! stale (the row is dim: last known), ? unknown. {UNKNOWN} is not known, never 0.",
        "○ ready: the engine runs and gets no requests; its own screen says why.",
    )

    _summed: FleetView | None = None
    _node_states: dict[str, NodeState]
    _node_lines: dict[str, NodeLine]

    def compose_body(self) -> Iterable[Widget]:
        yield Container(
            FleetTable(MODEL_COLUMNS, fields=lambda row: {"model": row.name}, sort="model", id="models"),
            FleetTable(PROBLEM_COLUMNS, fields=_problem_fields, header=False, id="problems"),
            FleetTable(EVENT_COLUMNS, fields=event_fields, header=False, follow=True, id="recent"),
            id="top",
        )
        yield FleetTable(ENGINE_COLUMNS, fields=engine_fields, is_old=is_stale, sort="engine", id="engines")
        yield FleetTable(NODE_COLUMNS, fields=line_fields, is_old=line_is_stale, sort="node", id="nodes")

    def show_view(self, view: FleetView, moment: Moment) -> None:
        known = view.server is not None or moment.as_of is not None
        found = {problem.key: problem for problem in (*problems(view, moment), *checks(view, moment.last_known))}
        models, wrong = self._table("models", ModelRow), self._table("problems", Problem)
        engines, nodes = self._table("engines", EngineRow), self._table("nodes", NodeLine)
        models.empty, engines.empty, nodes.empty = (NO_MODELS, NO_ENGINES, NO_NODES) if known else (WAITING,) * 3
        wrong.empty = well(view, moment) if known else WAITING
        models.show_rows(view.models, moment)
        wrong.show_rows(found, moment)
        engines.show_rows(view.engines, moment)
        nodes.show_rows(self._lines_of(view, moment), moment)
        self._table("recent", EventRow).show_rows({str(event.event_id): event for event in view.events}, moment)
        bad = sum(problem.severity is not Severity.INFO for problem in found.values())
        models.entitle("Models", len(view.models))
        wrong.entitle(f"What is wrong {bad}" if bad or not found else "Nothing is wrong; worth knowing:")
        engines.entitle("Engines", len(view.engines))
        nodes.entitle("Nodes", len(view.nodes))
        self._table("recent", EventRow).entitle("Events", len(view.events))

    def _table(self, name: str, _of: type[object]) -> FleetTable:  # type: ignore[type-arg]
        return self.query_one(f"#{name}", FleetTable)

    def _lines_of(self, view: FleetView, moment: Moment) -> dict[str, NodeLine]:
        """The nodes with their states and sums, made once for a view and when a state turns, not once a second."""
        states = node_states(view, moment)
        if self._summed is not view or self._node_states != states:
            self._summed, self._node_states, self._node_lines = view, states, node_lines(view, states)
        return self._node_lines

    def target_of(self, table: FleetTable[object], key: str) -> tuple[Topic, str] | None:
        if table.id == "engines":
            return Topic.ENGINE, key
        if table.id == "nodes":
            return Topic.NODE, key
        if table.id == "models":
            return Topic.MODEL, key
        if table.id == "problems":
            topic, subject = key.split(":", 1)
            return Topic(topic), subject.rsplit(":", 1)[0]
        return Topic.SERVER, ""

    def show_model(self, name: str) -> None:
        """The engines of this model only."""
        engines = self.query_one("#engines", FleetTable)
        self.apply_filter(engines, "model:^" + re.escape(name).replace("\\ ", ".") + "$")
        engines.focus()


def _problem_fields(row: Problem) -> dict[str, str]:
    return {"what": row.state, "about": row.subject, "detail": row.detail, "topic": row.topic.value}


def well(view: FleetView, moment: Moment) -> tuple[Line, ...]:
    """What stands where nothing is wrong; it says so only of fresh data."""
    if not moment.live:
        return (
            say("○ Nothing was known to be wrong.", Tone.WARN),
            say(f"That was at {clock_time(moment.as_of)}; since then the link is down.", Tone.DIM),
        )
    if not view.nodes:
        return (say("● Nothing is wrong, and nothing is there yet.", Tone.DIM),)
    since = quiet_since(view)
    calm = f"No warning for {age(since, moment.now)}" if since else "No warning in the events kept"
    oldest = seconds(oldest_report_seconds(view, moment))
    return (
        (span("● ", Tone.GOOD), span("All is well", Tone.STRONG)),
        say(f"{calm}.", Tone.DIM),
        say(f"As of {clock_time(moment.as_of)}; the oldest report is {oldest} old.", Tone.DIM),
    )
