"""A SQL answer for people and programs: a table whose columns read by their units, JSON, or CSV.

Called by `stoker history …` and `stoker sql`. A column's name ends in its unit (docs/history.md), which says how it is read.
"""

import csv
import io
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import click

from console.cli.output import Cell, Column, Row, show_json, show_table
from console.cli.shapes import shape
from console.model import format as fmt
from console.model.answers import SqlAnswer

_TEXT_WIDTH_MAX = 60


def show_answer_as(answer: SqlAnswer, output: str, *, empty: str) -> None:
    """`output`: table, json or csv."""
    if output == "json":
        names = [column.name for column in answer.columns]
        show_json([dict(zip(names, shape(row), strict=True)) for row in answer.rows])
    elif output == "csv":
        click.echo(as_csv(answer), nl=False)
    else:
        columns = [_column(column.name, column.kind) for column in answer.columns]
        show_table(columns, [_row(answer, row) for row in answer.rows], empty=empty)


def as_csv(answer: SqlAnswer) -> str:
    """RFC 4180 with a line of names; unknown is empty. What a spreadsheet would take for a formula is quoted by an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([column.name for column in answer.columns])
    for row in answer.rows:
        writer.writerow([_in_csv(value) for value in row])
    return text.getvalue()


def _in_csv(value: Any) -> str:
    plain = shape(value)
    if plain is None:
        return ""
    if isinstance(plain, str) and plain[:1] in "=+-@\t\r":
        return f"'{plain}"
    return str(plain)


def _column(name: str, kind: str) -> Column:
    return Column(
        fmt.clean(name), right=kind in ("whole", "real"), width_max=None if kind != "text" else _TEXT_WIDTH_MAX
    )


def _row(answer: SqlAnswer, row: tuple[Any, ...]) -> Row:
    return [Cell(_cell(column.name, value)) for column, value in zip(answer.columns, row, strict=True)]


_FORMATS: Mapping[str, Callable[[float | None], str]] = MappingProxyType(
    {
        "_ratio": fmt.percent,
        "_ratio_mean": fmt.percent,
        "_ratio_max": fmt.percent,
        "_tokens": fmt.tokens,
        "_seconds": fmt.seconds,
        "_seconds_mean": fmt.seconds,
        "_seconds_max": fmt.seconds,
        "_bytes": fmt.memory,
        "flops": fmt.flops,
        "_watts": fmt.watts,
        "_flops_per_byte": fmt.intensity,
    }
)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return fmt.UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return fmt.instant(value)
    if isinstance(value, int | float):
        read = next((form for suffix, form in _FORMATS.items() if name.endswith(suffix)), None)
        if read is not None:
            return read(float(value))
        return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    return str(value)
