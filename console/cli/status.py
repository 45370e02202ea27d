"""`stoker status`: what is wrong first, then the sums by model and by provider, in 80 columns."""

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime

import click

from console.cli.output import Cell, Column, Row, show_json, show_line, show_table
from console.cli.parameters import MOMENT, output_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.cli.styles import ratio_cell, severity_cell
from console.model import format as fmt
from console.model.answers import PastFleet
from console.model.checks import checks
from console.model.fleet_view import FleetView, Severity
from console.model.overview import Problem, Topic, moment_of, problems
from console.model.summaries import Totals, totals_by_model, totals_by_provider, totals_of

_PROBLEMS_SHOWN_MAX = 20
_EVENTS_SHOWN_MAX = 10
_PROBLEMS = (Column("SEVERITY"), Column("WHAT", wrap=True), Column("STATE"), Column("WHY", wrap=True))
_SUMS = (
    Column("ENGINES", right=True),
    Column("KV"),
    Column("RUN", right=True),
    Column("WAIT", right=True),
    Column("TOK/S OUT", right=True, drop=1),
)


@click.command()
@click.option("--at", type=MOMENT, help="As it was then, from history: 2h ago is 2h; or a date.")
@output_option
@pass_session
def status(session: Session, at: datetime | None, output: str) -> None:
    """Show what is wrong, then the fleet by model and by provider: now, or with --at as it was.

    What was is told from SQL by the minute, or by the hour where minutes are not kept any more.
    """
    if at is not None:
        _show_past(session.ask(lambda client: client.fleet_at(at)), output)
        return
    view = session.ask(lambda client: client.fleet())
    found = found_in(view)
    if output == "json":
        show_json(_shape(view, found))
        return
    _show_server(view)
    show_line("")
    _show_problems(view, found)
    _show_sums("MODEL", totals_by_model(view))
    _show_sums("PROVIDER", totals_by_provider(view))


def _show_past(past: PastFleet, output: str) -> None:
    view = past.view
    found = problems(view, moment_of(view))
    if output == "json":
        kept = {"resolution_seconds": past.resolution_seconds, "unknown": list(past.unknown)}
        engines = [shape(engine) for engine in view.engines.values()]
        events = [shape(event) for event in view.events]
        show_json({**_shape(view, found), **kept, "engines": engines, "events": events})
        return
    length = "minute" if past.resolution_seconds <= 60 else "hour"
    show_line(f"The fleet as it was in the {length} before {fmt.instant(view.now)}; figures are means of it.", "bold")
    _show_counts(view, "ready")
    show_line("")
    _show_problems(view, found)
    _show_sums("MODEL", totals_by_model(view))
    _show_sums("PROVIDER", totals_by_provider(view))
    if view.events:
        show_line("")
        show_line("What had happened last:")
        for event in view.events[-_EVENTS_SHOWN_MAX:]:
            show_line(f"  {fmt.instant(event.at)}  {event.severity.value}: {fmt.clean(event.message)}")
    show_line("")
    show_line("Not known of that time:")
    for sentence in past.unknown:
        show_line(f"  {fmt.clean(sentence)}")


def found_in(view: FleetView) -> tuple[Problem, ...]:
    moment = moment_of(view)
    return (*problems(view, moment), *checks(view, moment))


def _show_server(view: FleetView) -> None:
    server = view.server
    if server is not None:
        show_line(
            f"control plane {fmt.text_or_unknown(server.version)}, up {fmt.age(server.started_at, view.now)}, "
            f"{fmt.text_or_unknown(server.database)}, leader epoch {server.leader_epoch}; "
            f"you are {fmt.text_or_unknown(server.caller_name)} ({fmt.text_or_unknown(server.caller_role)})"
        )
        gateway = f" at {fmt.clean(server.gateway_address)}" if server.gateway_address else ""
        show_line(f"gateway {fmt.text_or_unknown(server.gateway_state)}{gateway}")
    _show_counts(view, "usable")


def _show_counts(view: FleetView, usable: str) -> None:
    connected = sum(node.connected for node in view.nodes.values())
    totals = totals_of(view.engines.values())
    show_line(
        f"{connected}/{len(view.nodes)} nodes connected, {totals.routable}/{totals.engines} engines {usable}, "
        f"{len(view.models)} model{'' if len(view.models) == 1 else 's'}, "
        f"{fmt.quantity(totals.waiting)} requests waiting"
    )


def _show_problems(view: FleetView, found: tuple[Problem, ...]) -> None:
    wrong = [problem for problem in found if problem.severity is not Severity.INFO]
    if not wrong:
        show_line("Nothing is wrong." if view.nodes else "No node has joined yet: stoker node token", "bold green")
    if found:
        rows: list[Row] = [
            (severity_cell(each.severity), _subject(each), each.state, fmt.text_or_unknown(each.detail))
            for each in found[:_PROBLEMS_SHOWN_MAX]
        ]
        show_table(_PROBLEMS, rows, empty="")
    if len(found) > _PROBLEMS_SHOWN_MAX:
        show_line(f"and {len(found) - _PROBLEMS_SHOWN_MAX} more: stoker status -o json")
    failed = next((each for each in wrong if each.topic is Topic.ENGINE), None)
    if failed is not None:
        show_line(f"More of it: stoker engine {shlex.quote(fmt.clean(failed.subject))}")


def _subject(problem: Problem) -> str:
    return f"{problem.topic.value} {problem.subject}" if problem.subject else "control plane"


def _show_sums(title: str, totals: Mapping[str, Totals]) -> None:
    if not totals:
        return
    show_line("")
    rows: list[Row] = [(Cell(name or fmt.UNKNOWN), *_sums(each)) for name, each in totals.items()]
    show_table((Column(title, width_max=28), *_SUMS), rows, empty="")


def _sums(totals: Totals) -> Iterable[Cell | str]:
    return (
        Cell(f"{totals.routable}/{totals.engines}", "" if totals.routable or not totals.engines else "bold red"),
        ratio_cell(totals.kv_used_ratio),
        fmt.quantity(totals.running),
        fmt.quantity(totals.waiting),
        fmt.quantity(totals.generation_tokens_per_second),
    )


def _shape(view: FleetView, found: tuple[Problem, ...]) -> dict[str, object]:
    def sums(totals: Mapping[str, Totals]) -> list[dict[str, object]]:
        return [{"name": name, **shape(each), "kv_used_ratio": each.kv_used_ratio} for name, each in totals.items()]

    return {
        "now": shape(view.now),
        "server": shape(view.server),
        "nodes_count": len(view.nodes),
        "nodes_connected_count": sum(node.connected for node in view.nodes.values()),
        "problems": [shape(problem) for problem in found],
        "total": {**shape(totals_of(view.engines.values()))},
        "models": sums(totals_by_model(view)),
        "providers": sums(totals_by_provider(view)),
    }
