"""Tables and JSON on standard output. Called by every command that shows something.

Cells are plain text, never markup, and all text goes through `clean`. On a terminal a table that is too wide drops its
least important columns and says so; into a pipe everything is written in full.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from console.model.format import clean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_GAP = 2
_WRAPPED_WIDTH_MIN = 24  # before a sentence gets narrower than this, columns are dropped


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    style: str = ""  # a rich style; never the only carrier of a meaning


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    right: bool = False
    drop: int = 0  # when there is no room: the highest goes first; 0 stays
    width_max: int | None = None
    wrap: bool = False  # sentences: takes the room that is left, on as many lines as it needs


Row = Sequence[Cell | str]


def show_json(value: Any) -> None:
    """ASCII only: what hostile names carry stays escaped."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False))


def show_json_line(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=True, allow_nan=False))


def show_line(text: str, style: str = "") -> None:
    _console().print(_text(Cell(text, style)), soft_wrap=True)


def show_table(columns: Sequence[Column], rows: Sequence[Row], *, empty: str) -> None:
    """`empty` is said, on stderr, when there is no row: a sentence that names the next step."""
    if not rows:
        click.echo(empty, err=True)
        return
    from rich.table import Table

    cells = [[_text(cell, column) for cell, column in zip(row, columns, strict=True)] for row in rows]
    widths = [
        max([len(column.title), *(line[place].cell_len for line in cells)]) for place, column in enumerate(columns)
    ]
    console = _console(sum(widths) + _GAP * len(widths))
    kept = _kept(columns, widths, console.width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for place in kept:
        column = columns[place]
        table.add_column(
            _text(column.title),
            justify="right" if column.right else "left",
            no_wrap=not column.wrap,
            overflow="fold" if column.wrap else "ellipsis",
            min_width=1 if column.wrap else widths[place],
        )
    for line in cells:
        table.add_row(*(line[place] for place in kept))
    console.print(table)
    hidden = [column.title for place, column in enumerate(columns) if place not in kept]
    if hidden:
        click.echo(f"Not shown for lack of room: {', '.join(hidden)}. Widen the terminal, or use -o json.", err=True)


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    kept = list(range(len(columns)))
    widths = [
        min(_WRAPPED_WIDTH_MIN, natural) if column.wrap else natural
        for column, natural in zip(columns, widths, strict=True)
    ]
    for place in sorted(kept, key=lambda place: (-columns[place].drop, -place)):
        if sum(widths[each] + _GAP for each in kept) - _GAP <= width or columns[place].drop == 0:
            break
        kept.remove(place)
    return kept


def _text(cell: Cell | str, column: Column | None = None) -> "Text":
    from rich.text import Text

    text, style = (cell.text, cell.style) if isinstance(cell, Cell) else (cell, "")
    return Text(clean(text, length_max=column.width_max if column else None), style=style)


def _console(width_natural: int | None = None) -> "Console":
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else max(80, width_natural or 80)
    return Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)
