"""`stoker history …`: questions about the past that are asked often. Called by `console.cli.history`, which has the group.

Each is one SELECT over the documented views (`history_questions`), asked as anybody could ask it with `stoker sql`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from console.cli.answer_table import show_answer_as
from console.cli.history_questions import FILTERS, QUESTIONS, Question
from console.cli.parameters import MOMENT
from console.cli.session import Session, pass_session
from console.clock import utc_now

# Minutes up to this span; beyond it hours, of which there are sixty times fewer, and minutes for the last ones.
MINUTES_SPAN_MAX = timedelta(hours=6)
# Hours are computed when they are over; so long after that they surely are.
HOURS_BEHIND = timedelta(hours=2)
HOUR = timedelta(hours=1)
VIEWS = ("engine", "request", "node", "latency")
_SQL_TIME = "%Y-%m-%d %H:%M:%S.%f"
_ROWS_MAX = 1_000

_FILTER_HELP = {
    "model": "Only this model.",
    "provider": "Only this provider.",
    "node": "Only this node.",
    "tenant": "Only this tenant.",
    "engine": "Only this engine.",
}


def sql_time(at: datetime) -> str:
    """As both databases compare times: UTC, and nothing else to read out of it."""
    return at.strftime(_SQL_TIME)


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked about; hours are told up to `whole`, minutes from there."""

    since: datetime
    until: datetime
    whole: datetime

    @property
    def parameters(self) -> dict[str, str]:
        return {"since": sql_time(self.since), "until": sql_time(self.until), "whole": sql_time(self.whole)}


def span_of(since: datetime, until: datetime, resolution: str) -> Span:
    """The whole hours that it begins with, as far as hours are to be used; otherwise `whole` is `since`."""
    if resolution == "minute" or (resolution == "auto" and until - since <= MINUTES_SPAN_MAX):
        return Span(since, until, since)
    begins = _hour_of(since)
    return Span(begins, until, until if resolution == "hour" else max(begins, _hour_of(until - HOURS_BEHIND)))


def in_views(sql: str, span: Span) -> str:
    """The statement over the views that tell that span."""
    if span.whole <= span.since:
        return sql.format(at="minute_at", **{name: f"{name}_minutes" for name in VIEWS})
    return sql.format(
        at="hour_at",
        **{
            name: f"(SELECT * FROM {name}_hours WHERE hour_at >= :since AND hour_at < :whole\n  UNION ALL\n"  # noqa: S608 - of constants
            f"  SELECT * FROM {name}_minutes WHERE minute_at >= :whole AND minute_at < :until) AS told"
            for name in VIEWS
        },
    )


def _hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def span_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--since, --until, --resolution."""
    for option in (
        click.option(
            "--resolution",
            type=click.Choice(["auto", "minute", "hour"]),
            default="auto",
            show_default=True,
            help="From minutes, or from whole hours only. auto: minutes up to 6 hours, then hours and the last minutes.",
        ),
        click.option("--until", type=MOMENT, help="Until when. Default: now."),
        click.option("--since", type=MOMENT, default="24h", show_default=True, help="From when: 2h, 7d, or a date."),
    ):
        command = option(command)
    return command


def command_for(question: Question) -> click.Command:
    """The command of one question, with the filters that it knows."""

    @click.command(
        question.name, help=f"{question.help}\n\nOne SELECT over the views of `stoker sql`: --show-sql prints it."
    )
    @span_options
    @click.option("-o", "--output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
    @click.option("--show-sql", is_flag=True, help="Print the question as SQL, and ask nothing.")
    @pass_session
    def ask(
        session: Session,
        /,
        since: datetime,
        until: datetime | None,
        resolution: str,
        output: str,
        show_sql: bool,
        **filters: str,
    ) -> None:
        _ask(session, question, since, until or utc_now(), resolution, output, filters, show_sql=show_sql)

    for name in reversed(FILTERS):
        if name in question.filters:
            ask.params.append(click.Option([f"--{name}"], default="", help=_FILTER_HELP[name]))
    return ask


def _ask(
    session: Session,
    question: Question,
    since: datetime,
    until: datetime,
    wanted: str,
    output: str,
    filters: dict[str, str],
    *,
    show_sql: bool,
) -> None:
    if until <= since:
        raise click.UsageError("--until is not after --since.")
    span = span_of(since, until, "hour" if question.hours_only else wanted)
    sql = in_views(question.sql, span)
    parameters = {name: value for name, value in (span.parameters | filters).items() if f":{name}" in sql}
    if show_sql:
        for name, value in parameters.items():
            click.echo(f"-- :{name} = {value!a}")
        click.echo(sql)
        return
    answer = session.ask(lambda client: client.query_sql(sql, parameters=parameters, rows_max=_ROWS_MAX))
    show_answer_as(answer, output, empty=question.empty)
    if answer.truncated:
        click.echo(f"Not all of it: only the first {_ROWS_MAX:,} rows. Ask for a shorter span.", err=True)


def add_questions(group: click.Group) -> None:
    for question in QUESTIONS:
        group.add_command(command_for(question))
