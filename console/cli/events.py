"""`stoker events`: what happened, oldest first; with --follow, what happens."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import click

from console.cli.failures import RefusedFailure
from console.cli.output import Cell, Column, Row, show_json, show_json_line, show_line, show_table
from console.cli.parameters import MOMENT, output_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.cli.styles import severity_cell
from console.model import format as fmt
from console.model.answers import EventsAnswer
from console.model.fleet_view import Connection, EventRow, FleetView
from console.model.select import events_of

if TYPE_CHECKING:
    from console.link.client import OperatorClient

_COLUMNS = (
    Column("AT"),
    Column("SEVERITY"),
    Column("KIND", drop=2),
    Column("SUBJECT", width_max=40, drop=1),
    Column("MESSAGE", wrap=True),
    Column("ACTOR", drop=3),
)


@click.command()
@click.option("--since", type=MOMENT, help="How far back: 10m, 2h, or a date. Default: the last 200 events.")
@click.option("--node", default="", help="Only events of this node.")
@click.option("--engine", default="", help="Only events of this engine.")
@click.option("--kind", default="", help="Only events of this kind, such as engine_failed.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="At most so many.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens. JSON: one object per line.")
@output_option
@pass_session
def events(
    session: Session,
    since: datetime | None,
    node: str,
    engine: str,
    kind: str,
    limit: int,
    follow: bool,
    output: str,
) -> None:
    """List events, oldest first."""
    wanted = {"node": node, "engine_id": engine, "kind": kind}

    async def question(client: "OperatorClient") -> tuple[int, EventsAnswer]:
        # The newest first: what happens between the two calls is in the list, and is not shown again.
        newest = max((event.event_id for event in (await client.fleet()).events), default=0) if follow else 0
        return newest, await client.events(since=since, limit=limit, **wanted)

    newest, known = session.ask(question)
    if not follow:
        if output == "json":
            show_json([shape(event) for event in known.events])
        else:
            show_table(_COLUMNS, [_row(event) for event in known.events], empty="No event matches.")
        if known.truncated:
            click.echo(f"There are more than {limit}. Ask for less, or raise --limit.", err=True)
        return
    show = _line_writer(output)
    for event in known.events:
        show(event)
    last_seen = max(newest, *(event.event_id for event in known.events)) if known.events else newest
    _follow(session, _Followed(lambda event: bool(events_of([event], **wanted)), show, last_seen))


class _Followed:
    """Writes each event once, also over reconnections and a restart of the control plane."""

    def __init__(self, wanted: Callable[[EventRow], bool], show: Callable[[EventRow], None], last_seen: int) -> None:
        self._wanted = wanted
        self._show = show
        self._last_seen = last_seen

    def on_view(self, view: FleetView) -> None:
        fresh = [event for event in view.events if event.event_id > self._last_seen]
        self._last_seen = max((event.event_id for event in view.events), default=self._last_seen)
        for event in filter(self._wanted, fresh):
            self._show(event)

    def on_connection(self, connection: Connection, message: str) -> None:
        if connection is Connection.REFUSED:
            raise RefusedFailure(message)
        if connection is Connection.LOST:
            click.echo(f"stoker: {fmt.clean(message)} Trying again.", err=True)


def _follow(session: Session, followed: _Followed) -> None:
    from console.link.feed import Feed

    try:
        session.ask(lambda client: Feed(client, on_view=followed.on_view, on_connection=followed.on_connection).run())
    except KeyboardInterrupt:
        return  # that is how following ends


def _row(event: EventRow) -> Row:
    return (
        fmt.instant(event.at),
        severity_cell(event.severity),
        event.kind,
        _subject(event),
        event_text(event),
        fmt.text_or_unknown(event.actor),
    )


def event_text(event: EventRow) -> str:
    """What happened, to which device, and what to do about it."""
    device = f"{event.device_id}: " if event.device_id else ""
    return f"{device}{event.message}" + (f" Do: {event.action}" if event.action else "")


def _subject(event: EventRow) -> str:
    return fmt.text_or_unknown(event.engine_id or event.node or event.model)


def _line_writer(output: str) -> Callable[[EventRow], None]:
    if output == "json":
        return lambda event: show_json_line(shape(event))

    def show(event: EventRow) -> None:
        cell: Cell = severity_cell(event.severity)
        kind, subject = fmt.clean(event.kind), _subject(event)
        show_line(f"{fmt.instant(event.at)}  {cell.text:<7}  {kind:<22}  {subject}  {event_text(event)}", cell.style)

    return show
