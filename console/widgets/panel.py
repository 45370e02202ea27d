"""A titled panel of lines, and the chrome above and below the tables that is made the same way.

Screens fill panels with `Line`s; a panel repaints only when its lines changed. It parses no markup.
"""

from collections.abc import Iterable, Sequence

from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from console.widgets.spans import Line, Tone, content, fitted, say, span, width_of


class Panel(Static):
    """Lines below a title; never takes the focus."""

    def __init__(self, title: str = "", *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__("", id=id, classes=classes, markup=False)
        self.border_title = Content(title)
        self.lines: tuple[Line, ...] = ()
        self._width = 0

    class Widened(Message):
        """It has another width now: bars in it may be drawn anew."""

    def on_resize(self) -> None:
        if self.content_size.width != self._width:
            self._width = self.content_size.width
            self.post_message(self.Widened())

    def show_lines(self, lines: Iterable[Line]) -> None:
        lines = tuple(lines)
        if lines != self.lines:
            self.lines = lines
            self.update(content(lines))

    @property
    def text(self) -> str:
        return "\n".join("".join(part for part, _ in line) for line in self.lines)


Fact = tuple[str, Line]


def facts(pairs: Sequence[Fact], *, label_width: int = 0) -> list[Line]:
    """Labels and values below each other, the values in one column."""
    width = label_width or max((len(label) for label, _ in pairs), default=0) + 2
    return [(*fitted(say(label, Tone.DIM), width), *value) for label, value in pairs]


def beside(left: Sequence[Line], right: Line, width: int) -> Line:
    """As many of the parts on the left as fit, most important first, and what stands at the right end."""
    room = width - width_of(right)
    parts: list[tuple[str, Tone]] = []
    for part in left:
        if width_of(part) > room:
            break
        parts.extend(part)
        room -= width_of(part)
    return (*parts, span(" " * max(0, room)), *right)
