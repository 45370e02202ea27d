"""The rows behind a table: what they are, which are shown in what order and columns, and which drawn lines are outdated.

`FleetTable` owns one. Plain state without a widget: it draws nothing and decides nothing about the cursor.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic

from console.model.overview import Moment
from console.widgets.columns import Column, Fitted, Row, fit, row_line
from console.widgets.row_order import RowOrder
from console.widgets.spans import Line, faded

_REMEMBERED_MAX = 512  # drawn lines; more than any terminal shows


class LiveRows(Generic[Row]):
    def __init__(
        self,
        columns: Sequence[Column[Row]],
        fields: Callable[[Row], Mapping[str, str]],
        is_old: Callable[[Row, Moment], bool],
    ) -> None:
        """`fields` is what a filter looks at; `is_old` says that a row is only the last known."""
        self._columns = tuple(columns)
        self._is_old = is_old
        self._drawn: dict[int, tuple[str, Line]] = {}  # by index
        self.rows: Mapping[str, Row] = {}
        self.moment = Moment()
        self.order: RowOrder[Row] = RowOrder(fields)
        self.fitted: tuple[Fitted[Row], ...] = ()

    def take(self, rows: Mapping[str, Row], moment: Moment) -> bool:
        """New rows. Returns whether other keys are shown, or in another order."""
        self.rows, self.moment = rows, moment
        return self.order.update(rows)

    def fit(self, width: int) -> None:
        self.fitted = fit(self._columns, width)
        self.forget()

    def column(self, key: str) -> Column[Row] | None:
        return next((column for column in self._columns if column.key == key), None)

    def sorting_column(self, character: str | None) -> Column[Row] | None:
        """The column that this key sorts by."""
        return next((each for each in self._columns if each.sort_key and each.sort_key == character), None)

    def column_at(self, x: int) -> Column[Row] | None:
        return next((each.column for each in self.fitted if each.start <= x < each.start + each.width), None)

    def line_of(self, key: str) -> Line:
        """The cells of a row, dim when they are only the last known."""
        row = self.rows[key]
        line = row_line(self.fitted, row, self.moment)
        return faded(line) if self.moment.lost or self._is_old(row, self.moment) else line

    def draw(self, index: int) -> Line:
        """The line of a row that is shown, remembered for `outdated`."""
        key = self.order.keys[index]
        line = self.line_of(key)
        if len(self._drawn) >= _REMEMBERED_MAX:
            self._drawn.clear()
        self._drawn[index] = (key, line)
        return line

    def outdated(self, in_sight: Callable[[int], bool]) -> list[int]:
        """The drawn lines in sight that would be drawn differently now."""
        return [
            index
            for index, (key, line) in self._drawn.items()
            if in_sight(index) and key in self.rows and self.line_of(key) != line
        ]

    def forget(self) -> None:
        """Nothing is drawn any more."""
        self._drawn.clear()
