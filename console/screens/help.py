"""Help for the screen below it: its keys, the actions, the `:` words, what the signs mean.

Opened by `console.app` for `?`. Made from the registry of actions and from what each screen says of itself; never acts.
"""

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from console.actions import ACTIONS
from console.command_words import COMMANDS
from console.model.fleet_view import EngineRow
from console.widgets.columns import Column
from console.widgets.engine_columns import COLUMNS as ENGINE_COLUMNS
from console.widgets.spans import Line, Tone, content, fitted, say, span

KEYS: tuple[tuple[str, str], ...] = (
    ("1 2", "the screens; Tab and Shift-Tab go between tables"),
    ("↑ ↓ j k g G", "move; PgUp PgDn Home End too; the mouse works"),
    ("Enter", "open what the cursor is on;  Esc  goes back"),
    ("a", "what can be done with it: nothing happens before you saw what will"),
    ("l", "the end of an engine's log, read from its node"),
    ("/", "filter the table: words, patterns, !not, field:word"),
    (":", "go to a screen, an engine or a node by name; Tab completes"),
    ("Ctrl-P", "command palette"),
    ("?", "this help;  q  leaves the console, the fleet does not notice"),
)


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "Back")]

    def __init__(self, title: str, lines: tuple[str, ...]) -> None:
        """`title` and `lines` are the own words of the screen that asked."""
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as box:
            box.border_title = Content(f"Help: {self._title}")
            box.border_subtitle = Content("Esc leaves")
            yield Static(content(self._all()), markup=False)

    def _all(self) -> Iterable[Line]:
        yield from (say(line) for line in self._lines)
        yield from _heading("Keys")
        yield from (_pair(key, what) for key, what in KEYS)
        yield from _heading("Sort engines, once: figures then stay in their order while you read; again turns it round")
        yield from _sort_keys(ENGINE_COLUMNS)
        yield from _heading("Actions, after a: each shows what it will do, and its twin for scripts")
        for action in ACTIONS:
            yield (
                *_pair(f"a {action.key}", f"{action.title}: {action.summary}  "),
                span(action.twin, Tone.ACCENT),
                span(f"  {action.needs_role.name.lower()}", Tone.DIM),
            )
        yield from _heading("Words after :")
        yield from (_pair(word.usage, word.what, width=24) for word in COMMANDS)


def _heading(text: str) -> tuple[Line, Line]:
    return (), say(text, Tone.DIM)


def _pair(key: str, what: str, width: int = 14) -> Line:
    return (*fitted(say(f"  {key}", Tone.ACCENT), width), span(what))


def _sort_keys(columns: Iterable[Column[EngineRow]]) -> Iterable[Line]:
    keyed = [column for column in columns if column.sort_key]
    for start in range(0, len(keyed), 7):
        parts: list[tuple[str, Tone]] = []
        for column in keyed[start : start + 7]:
            parts += fitted((span(f"  {column.sort_key} ", Tone.ACCENT), span(column.key)), 14)
        yield tuple(parts)
