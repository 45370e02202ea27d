"""`stoker sql`: a question in SQL over the documented views, answered by the control plane; no database password is needed."""

from collections.abc import Iterable
from dataclasses import replace
from typing import IO

import click

from console.cli.answer_table import show_answer_as
from console.cli.output import Column, show_json, show_line, show_table
from console.cli.parameters import Duration
from console.cli.session import Session, pass_session
from console.model.select import grouped

_COLUMNS = (Column("COLUMN"), Column("MEANING", wrap=True))
_ROWS_DEFAULT, _ROWS_MAX = 1_000, 100_000
_LISTED = "SELECT view_name, view_meaning, column_name, column_meaning FROM view_columns ORDER BY view_name, position"


@click.command()
@click.argument("question", default="")
@click.option("-f", "--file", type=click.File(), help="Read the question from a file; - is standard input.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A value for :NAME; can be given again.")
@click.option(
    "--limit", type=click.IntRange(1, _ROWS_MAX), default=_ROWS_DEFAULT, show_default=True, help="Rows at most."
)
@click.option(
    "--timeout", type=Duration(), default=10.0, help="How long the database may take, at most 60s. Default: 10s."
)
@click.option("-o", "--output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option(
    "--views", is_flag=True, help="List the views and their columns with what they mean, and ask nothing else."
)
@pass_session
def sql(
    session: Session,
    question: str,
    file: IO[str] | None,
    params: tuple[str, ...],
    limit: int,
    timeout: float,
    output: str,
    views: bool,
) -> None:
    """Ask the history in SQL: one SELECT over the documented views.

    Times are UTC. Values are best given with --param, which needs no quotes within quotes:

    \b
    stoker sql "SELECT engine_id, kv_used_ratio FROM fleet_now ORDER BY 2 DESC"
    stoker sql "SELECT * FROM events WHERE node = :node" --param node=gcp-1
    """
    if views:
        _show_views(session, question, output)
        return
    text = _question(question, file)
    if not 0 < timeout <= 60:
        raise click.UsageError("--timeout is at most 60s.")
    given = _parameters(params)
    answer = session.ask(lambda client: client.query_sql(text, parameters=given, rows_max=limit, seconds_max=timeout))
    show_answer_as(answer, output, empty="No row. `stoker sql --views` says what each view holds.")
    if answer.truncated:
        click.echo(_cut(len(answer.rows), limit), err=True)


def _question(question: str, file: IO[str] | None) -> str:
    if question and file is not None:
        raise click.UsageError("Give the question as an argument or with --file, not both.")
    if question == "-":
        file = click.open_file("-")
    try:
        text = file.read() if file is not None else question
    except UnicodeDecodeError:
        raise click.UsageError("The file with the question is not UTF-8 text.") from None
    if not text.strip():
        raise click.UsageError('What is the question? stoker sql "SELECT …"; `stoker sql --views` lists the views.')
    return text


def _parameters(params: Iterable[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for each in params:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"--param is NAME=VALUE, not {each!a}.")
        if name in given:
            raise click.UsageError(f"--param {name} is given twice.")
        given[name] = value
    return given


def _cut(rows_count: int, limit: int) -> str:
    if rows_count < limit:
        return f"Not all of it: after {rows_count:,} rows the answer was as large as one may be. Ask for fewer columns or rows."
    return f"Not all of it: there are more than {limit:,} rows. Allow more with --limit, or ask for less."


def _show_views(session: Session, only: str, output: str) -> None:
    found = session.ask(lambda client: client.query_sql(_LISTED, rows_max=_ROWS_MAX))
    chosen = replace(found, rows=tuple(row for row in found.rows if only in ("", row[0])))
    if not chosen.rows:
        raise click.UsageError(f"There is no view {only!a}; without a name, all are listed.")
    if output == "csv":
        show_answer_as(chosen, output, empty="")
        return
    by_view = grouped(chosen.rows, lambda row: str(row[0]))
    if output == "json":
        show_json(
            [
                {"view": name, "meaning": rows[0][1], "columns": [{"name": row[2], "meaning": row[3]} for row in rows]}
                for name, rows in by_view.items()
            ]
        )
        return
    for name, rows in by_view.items():
        show_line(f"{name}: {rows[0][1]}", "bold")
        show_table(_COLUMNS, [(str(row[2]), str(row[3])) for row in rows], empty="")
        show_line("")
