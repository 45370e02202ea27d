"""What a table's columns are, and which of them fit a width.

`FleetTable` lays its columns out with `fit`; the modules *_columns declare them. Pure: knows no screen and no theme.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from console.model.overview import Moment
from console.widgets.spans import Line, Span, Tone, fitted, say, span

_GREED_MAX = 40  # the most weight that one column has when spare cells are shared

Row = TypeVar("Row")
Sortable = str | float | None  # None sorts last whichever way


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    key: str
    title: str
    cell: Callable[[Row, Moment, int], Line]  # the row, the moment, the cells there are
    width: int
    priority: int  # 0 stays as long as anything does; the highest number is the first to go
    grow: int = 0  # how many cells more it may take where there is room
    right: bool = False  # numbers stand to the right
    order: Callable[[Row], Sortable] | None = None  # what it sorts by; None: it does not
    sort_key: str = ""  # the shifted letter that sorts by it


@dataclass(frozen=True, slots=True)
class Fitted(Generic[Row]):
    column: Column[Row]
    start: int  # the first cell
    width: int


def fit(columns: Sequence[Column[Row]], width: int) -> tuple[Fitted[Row], ...]:
    """The columns that fit `width` in their order, placed: the least important go first, the rest share what is left."""
    kept = list(columns)
    while len(kept) > 1 and _needed(kept) > width:
        kept.remove(max(kept, key=lambda column: column.priority))
    spare = max(0, width - _needed(kept))
    gap = 2 if spare >= len(kept) * 2 else 1
    spare -= (len(kept) - 1) * (gap - 1)
    widths = _grown(kept, spare)
    if len(kept) == 1:
        widths[0] = min(widths[0], max(1, width))
    placed: list[Fitted[Row]] = []
    start = 0
    for column, cells in zip(kept, widths, strict=True):
        placed.append(Fitted(column, start, cells))
        start += cells + gap
    return tuple(placed)


def row_line(placed: Sequence[Fitted[Row]], row: Row, moment: Moment) -> Line:
    """The cells of a row, side by side."""
    return _joined(placed, lambda each: each.column.cell(row, moment, each.width))


def header_line(placed: Sequence[Fitted[Row]], sorted_by: Column[Row] | None, *, descending: bool) -> Line:
    """The titles, the one that the rows are sorted by with its direction."""

    def title(each: Fitted[Row]) -> Line:
        if sorted_by is None or sorted_by.key != each.column.key:
            return say(each.column.title, Tone.DIM)
        mark = "▼" if descending else "▲"
        return (*say(each.column.title[: max(0, each.width - 1)]), span(mark, Tone.ACCENT))

    return _joined(placed, title)


def _joined(placed: Sequence[Fitted[Row]], cell: Callable[[Fitted[Row]], Line]) -> Line:
    parts: list[Span] = []
    end = 0
    for each in placed:
        parts.append(span(" " * (each.start - end)))
        parts.extend(fitted(cell(each), each.width, right=each.column.right))
        end = each.start + each.width
    return tuple(parts)


def _grown(columns: Sequence[Column[Row]], spare: int) -> list[int]:
    """The widths with the spare cells shared out: who may grow much gets more."""
    widths = [column.width for column in columns]
    shares = [0.0] * len(columns)
    for _ in range(spare):
        growing = [at for at, column in enumerate(columns) if widths[at] - column.width < column.grow]
        if not growing:
            break
        at = min(growing, key=lambda each: (shares[each], each))
        widths[at] += 1
        shares[at] += 1 / min(columns[at].grow, _GREED_MAX)
    return widths


def _needed(columns: Sequence[Column[Row]]) -> int:
    return sum(column.width for column in columns) + len(columns) - 1
