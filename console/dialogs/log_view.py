"""The end of one engine's log, read from its node when asked for. Opened by `console.app`; it changes nothing."""

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from console.link.errors import LinkError
from console.model.format import clean, clean_lines
from console.widgets.spans import CROSS, Line, Tone, content, say


class LogView(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,l", "dismiss(None)", "Back"),
        Binding("r", "read", "Read again"),
    ]

    def __init__(self, engine_id: str, read: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
        super().__init__()
        self._engine_id = engine_id
        self._read = read

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(f"Log of {clean(self._engine_id)}")
            box.border_subtitle = Content("r reads again · Esc leaves")
            with VerticalScroll(id="lines"):
                yield Static("", id="log", markup=False)

    def on_mount(self) -> None:
        self.query_one("#lines").focus()
        self.action_read()

    def action_read(self) -> None:
        self._show([say("○ Asking its node …", Tone.DIM)])
        self.run_worker(self._fetch(), exclusive=True)

    async def _fetch(self) -> None:
        try:
            lines = clean_lines(await self._read())
        except LinkError as error:
            self._show([say(f"{CROSS} It cannot be read:", Tone.BAD), say(error.message)])
            return
        self._show([say(line) for line in lines] or [say("The log is empty.", Tone.DIM)])
        self.query_one("#lines", VerticalScroll).scroll_end(animate=False)

    def _show(self, lines: list[Line]) -> None:
        self.query_one("#log", Static).update(content(lines))
