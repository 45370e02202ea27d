"""Which rows of a table are shown and in what order.

`FleetTable` keeps one. An order by name follows the rows; an order by a figure is taken when it is asked for and then
stays, so that nothing jumps while someone reads: new rows join at the end. Pure.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Generic, TypeVar

from console.model.select import Filter
from console.widgets.columns import Column, Sortable

Row = TypeVar("Row")


@lru_cache(maxsize=65_536)
def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Orders "gcp-2" before "gcp-10"."""
    parts = re.split(r"([0-9]+)", text)
    return tuple((1, int(part), "") if index % 2 else (0, 0, part.lower()) for index, part in enumerate(parts))


class RowOrder(Generic[Row]):
    def __init__(self, fields: Callable[[Row], Mapping[str, str]]) -> None:
        """`fields` is what the filter looks at in a row, by name."""
        self._fields = fields
        self._filter = Filter("")
        self._taken: Mapping[str, Row] | None = None  # what the order was last made of
        self.pattern = ""
        self.column: Column[Row] | None = None
        self.descending = False
        self.keys: list[str] = []

    def begin_with(self, column: Column[Row] | None) -> None:
        """The order before anybody asked for another: the smallest first."""
        self.column = column

    def filter_by(self, pattern: str) -> None:
        self.pattern = pattern
        self._filter = Filter(pattern)
        self._taken = None

    def sort_by(self, column: Column[Row] | None, rows: Mapping[str, Row]) -> None:
        """By this column; once more by the same turns the order round. Figures begin with the largest."""
        same = column is not None and self.column is not None and column.key == self.column.key
        first_down = column is not None and column.right
        self.descending = not self.descending if same else first_down
        self.column = column
        self.keys = self._sorted(rows, self._shown(rows))

    def update(self, rows: Mapping[str, Row]) -> bool:
        """Takes new rows in and lost ones out. Returns whether the order is another one."""
        if rows is self._taken:
            return False
        self._taken = rows
        shown = self._shown(rows)
        if self.column is not None and self.column.right:
            wanted = set(shown)
            kept = [key for key in self.keys if key in wanted]
            known = set(kept)
            order = kept + self._sorted(rows, [key for key in shown if key not in known])
        else:
            order = self._sorted(rows, shown)
        changed = order != self.keys
        self.keys = order
        return changed

    def _shown(self, rows: Mapping[str, Row]) -> list[str]:
        if not self._filter:
            return list(rows)
        return [key for key, row in rows.items() if self._filter.matches(self._fields(row))]

    def _sorted(self, rows: Mapping[str, Row], keys: Iterable[str]) -> list[str]:
        if self.column is None or self.column.order is None:
            return list(keys)
        value = self.column.order
        known: list[tuple[Sortable, str]] = [(value(rows[key]), key) for key in keys]
        last = sorted((key for found, key in known if found is None), key=natural)
        texts = [(found, key) for found, key in known if isinstance(found, str)]
        figures = [(found, key) for found, key in known if isinstance(found, int | float)]
        texts.sort(key=lambda pair: (natural(pair[0]), natural(pair[1])), reverse=self.descending)
        figures.sort(key=lambda pair: natural(pair[1]))
        figures.sort(key=lambda pair: pair[0], reverse=self.descending)
        return [key for _, key in (*texts, *figures)] + last
