"""Text with a meaning instead of a colour: what every cell and panel of the console is made of.

Widgets build lines of spans; `FleetTable` and `content` give each tone its colour from the theme. `span` is the one way
to make a span, and it cleans its text, so that no name or log line can ever steer a terminal. No markup is ever parsed.
"""

from collections.abc import Iterable
from enum import Enum

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from console.model.format import clean

CROSS = "\N{MULTIPLICATION SIGN}"  # something is broken; every terminal font has it


class Tone(Enum):
    """What a piece of text means. The value names a variable of the theme."""

    PLAIN = "plain"
    STRONG = "strong"  # what to read first
    DIM = "dim"  # labels, what is old or does not matter now
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    ACCENT = "accent"  # keys, and where one is
    TRACK = "track"  # the empty part of a bar


Span = tuple[str, Tone]
Line = tuple[Span, ...]

_BOLD = frozenset({Tone.STRONG, Tone.BAD})
_OLD = {Tone.WARN: Tone.WARN, Tone.BAD: Tone.BAD, Tone.TRACK: Tone.TRACK}


def span(text: str, tone: Tone = Tone.PLAIN) -> Span:
    return clean(text), tone


def say(text: str, tone: Tone = Tone.PLAIN) -> Line:
    """A line of one span."""
    return (span(text, tone),)


def is_bold(tone: Tone) -> bool:
    return tone in _BOLD


def faded(line: Line) -> Line:
    """The line as last known: dim, but for what warns."""
    return tuple((text, _OLD.get(tone, Tone.DIM)) for text, tone in line)


def width_of(line: Line) -> int:
    return sum(cell_len(text) for text, _ in line)


def fitted(line: Line, width: int, *, right: bool = False) -> Line:
    """The line in exactly `width` cells: padded, or cut with an ellipsis at its end."""
    room = width - width_of(line)
    if room == 0:
        return line
    if room > 0:
        blank = (" " * room, Tone.PLAIN)
        return (blank, *line) if right else (*line, blank)
    kept: list[Span] = []
    left = width - 1
    for text, tone in line:
        if left <= 0:
            break
        part = text if cell_len(text) <= left else set_cell_size(text, left)
        kept.append((part, tone))
        left -= cell_len(part)
    return (*kept, ("…", Tone.DIM)) if width > 0 else ()


def elided(text: str, width: int) -> str:
    """The text cut in its middle: the ends of ids and names tell them apart."""
    text = clean(text)
    if cell_len(text) <= width or width < 5:
        return text
    head = (width - 1) // 2
    tail = width - 1 - head
    return set_cell_size(text, head) + "…" + text[-tail:]


def content(lines: Iterable[Line]) -> Content:
    """Lines for a `Static`, coloured by the theme."""
    return Content("\n").join(Content.assemble(*((text, css_style(tone)) for text, tone in line)) for line in lines)


def css_style(tone: Tone) -> str:
    return f"$tone-{tone.value}" + (" bold" if is_bold(tone) else "")
