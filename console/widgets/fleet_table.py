"""A table of live rows: keyed, virtual (only lines in sight are drawn), and calm (cursor and scroll stay on their row).

Screens make one per kind of row and hand rows and the moment down with `show_rows`; it answers with `Opened` and `Pointed`
messages. It repaints only lines whose text changed. It never sorts or filters on its own account,
never asks for data, and draws text only by way of `Line`s.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.strip import Strip

from console.model.format import clean
from console.model.overview import Moment
from console.widgets.columns import Column, Row, header_line
from console.widgets.line_painter import LinePainter
from console.widgets.live_rows import LiveRows
from console.widgets.spans import Line, Tone, say, span

GUTTER = 2  # the cursor's mark and a space


class FleetTable(LinePainter, Generic[Row], can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "move(-1, True)", "Page up", show=False),
        Binding("pagedown", "move(1, True)", "Page down", show=False),
        Binding("home,g", "move_to(0)", "First", show=False),
        Binding("end,G", "move_to(-1)", "Last", show=False),
        Binding("enter", "open", "Open"),
    ]
    cursor_index: var[int] = var(0)
    hovered_index: var[int | None] = var(None)

    class _About(Message):
        def __init__(self, table: "FleetTable[Any]", key: str) -> None:
            super().__init__()
            self.table = table
            self.key = key

    class Opened(_About):
        """Enter or a double click on a row."""

    class Pointed(_About):
        """The cursor came to a row."""

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        *,
        fields: Callable[[Row], Mapping[str, str]],
        is_old: Callable[[Row, Moment], bool] = lambda _row, _moment: False,
        empty: Sequence[Line] = (),
        sort: str = "",
        follow: bool = False,
        header: bool = True,
        id: str | None = None,  # noqa: A002 - Textual's own name
    ) -> None:
        """`fields` is what a filter looks at; `follow` keeps to the last row while the cursor is on it."""
        super().__init__(id=id)
        self._live: LiveRows[Row] = LiveRows(columns, fields, is_old)
        self._follow = follow
        self._header_lines = 1 if header else 0
        self._empty = tuple(empty)
        self.order = self._live.order
        self.order.begin_with(self._live.column(sort))
        self.lines_repainted = 0  # so far, by updates: for tests

    # ---- what comes down

    @property
    def empty(self) -> tuple[Line, ...]:
        """What stands there while there is no row."""
        return self._empty

    @empty.setter
    def empty(self, lines: tuple[Line, ...]) -> None:
        if lines != self._empty:
            self._empty = lines
            if not self.order.keys:
                self.refresh()

    def show_rows(self, rows: Mapping[str, Row], moment: Moment) -> None:
        """The rows as they are now. The cursor stays on its row, and the row where it is on the screen."""
        key, before, was_last = self.cursor_key, self.cursor_index, self.cursor_index >= len(self.order.keys) - 1
        if self._live.take(rows, moment):
            self._settle(key, before, to_last=self._follow and was_last)
        else:
            self._repaint_changed()

    def entitle(self, title: str, count: int | None = None) -> None:
        """Names the table: how many rows there are, how many of them the filter lets through, and the filter itself."""
        shown = len(self.order.keys)
        number = "" if count is None else f" {count}" if shown == count else f" {shown} of {count}"
        self.border_title = Content(title + number + (f"  /{clean(self.order.pattern)}" if self.order.pattern else ""))

    def filter_by(self, pattern: str) -> None:
        key, before = self.cursor_key, self.cursor_index
        self.order.filter_by(pattern)
        self.order.update(self._live.rows)
        self._settle(key, before)

    def sort_by(self, column_key: str) -> None:
        column = self._live.column(column_key)
        if column is not None and column.order is not None:
            key, before = self.cursor_key, self.cursor_index
            self.order.sort_by(column, self._live.rows)
            self._settle(key, before)

    @property
    def cursor_key(self) -> str | None:
        return self.order.keys[self.cursor_index] if self.cursor_index < len(self.order.keys) else None

    def line_of(self, key: str) -> Line:
        """The cells of a row as they would be drawn now."""
        return self._live.line_of(key)

    # ---- order, cursor and scroll

    def _settle(self, key: str | None, before: int, *, to_last: bool = False) -> None:
        """After the order changed: the same row under the cursor, at the same height on the screen."""
        keys = self.order.keys
        index = len(keys) - 1 if to_last else keys.index(key) if key in keys else min(before, len(keys) - 1)
        index = max(0, index)
        height = before - self.scroll_offset.y
        self.virtual_size = Size(self.size.width, len(keys) + self._header_lines)
        self.set_reactive(FleetTable.cursor_index, index)
        self._live.forget()
        self.scroll_to(y=max(0, index - height), animate=False, force=True, immediate=True)
        self._keep_in_sight()
        self.refresh()
        if self.cursor_key is not None and self.cursor_key != key:
            self.post_message(self.Pointed(self, self.cursor_key))

    @property
    def _lines_in_sight(self) -> int:
        return max(1, self.scrollable_content_region.height - self._header_lines)

    def _keep_in_sight(self) -> None:
        top, lines = self.scroll_offset.y, self._lines_in_sight
        if self.cursor_index < top:
            self.scroll_to(y=self.cursor_index, animate=False, force=True, immediate=True)
        elif self.cursor_index >= top + lines:
            self.scroll_to(y=self.cursor_index - lines + 1, animate=False, force=True, immediate=True)

    def validate_cursor_index(self, index: int) -> int:
        return max(0, min(index, len(self.order.keys) - 1))

    def watch_cursor_index(self, old: int, new: int) -> None:
        self._keep_in_sight()
        self._refresh_rows(old, new)
        if old != new and self.cursor_key is not None:
            self.post_message(self.Pointed(self, self.cursor_key))

    def watch_hovered_index(self, old: int | None, new: int | None) -> None:
        self._refresh_rows(*(index for index in (old, new) if index is not None))

    def action_move(self, by: int, pages: bool = False) -> None:
        self.cursor_index += by * (self._lines_in_sight if pages else 1)

    def action_move_to(self, index: int) -> None:
        self.cursor_index = index if index >= 0 else len(self.order.keys) - 1

    def action_open(self) -> None:
        if self.cursor_key is not None:
            self.post_message(self.Opened(self, self.cursor_key))

    # ---- hands

    def on_key(self, event: events.Key) -> None:
        if (column := self._live.sorting_column(event.character)) is not None:
            event.stop()
            self.sort_by(column.key)

    def on_click(self, event: events.Click) -> None:
        offset, index = event.get_content_offset(self), self._row_at(event)
        if index is not None:
            self.cursor_index = index
            if event.chain >= 2:
                self.action_open()
        elif offset is not None and offset.y < self._header_lines:
            column = self._live.column_at(offset.x - GUTTER)
            self.sort_by(column.key if column else "")

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self.hovered_index = self._row_at(event)

    def _row_at(self, event: events.MouseEvent) -> int | None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self._header_lines:
            return None
        index = offset.y - self._header_lines + self.scroll_offset.y
        return index if index < len(self.order.keys) else None

    def on_leave(self) -> None:
        self.hovered_index = None

    def on_resize(self) -> None:
        self._live.fit(self.scrollable_content_region.width - GUTTER)
        self.virtual_size = Size(self.size.width, len(self.order.keys) + self._header_lines)
        self._keep_in_sight()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._live.forget()

    # ---- drawing

    def _repaint_changed(self) -> None:
        outdated = self._live.outdated(self._in_sight)
        self.lines_repainted += len(outdated)
        self._refresh_rows(*outdated)

    def _in_sight(self, index: int) -> bool:
        return 0 <= index - self.scroll_offset.y < self._lines_in_sight

    def _refresh_rows(self, *indexes: int) -> None:
        for index in indexes:
            if self._in_sight(index):
                top = self._header_lines + index - self.scroll_offset.y
                self.refresh(Region(0, top, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if not self.order.keys:
            return self.painted(self._empty_line(y), width)
        if y < self._header_lines:
            titles = header_line(self._live.fitted, self.order.column, descending=self.order.descending)
            return self.painted((span(" " * GUTTER), *titles), width, "header")
        index = y - self._header_lines + self.scroll_offset.y
        if index >= len(self.order.keys):
            return self.painted((), width)
        line = self._live.draw(index)
        if index == self.cursor_index and self.has_focus:
            return self.painted((span("▌", Tone.ACCENT), span(" "), *line), width, "cursor")
        ground = "hover" if index == self.hovered_index else ""
        return self.painted((span(" " * GUTTER), *line), width, ground)

    def _empty_line(self, y: int) -> Line:
        if self.order.pattern and self._live.rows:
            return (span("  "), *say(f"Nothing matches /{self.order.pattern}", Tone.DIM)) if y == 0 else ()
        return (span("  "), *self.empty[y]) if y < len(self.empty) else ()
