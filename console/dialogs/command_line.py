"""The `:` line at the bottom: asks for an order and closes with it, or None. What it means is `command_words`."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Label

from console.command_words import CommandError, Order, completion, parse
from console.model.fleet_view import FleetView


class _Completer(Suggester):
    def __init__(self, view: FleetView) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._view = view

    async def get_suggestion(self, value: str) -> str | None:
        return completion(value, self._view)


class CommandLine(ModalScreen[Order | None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Leave"),
        Binding("tab", "complete", "Complete", priority=True),
    ]

    def __init__(self, view: FleetView) -> None:
        super().__init__()
        self._view = view

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label(":", markup=False)
            yield Input(
                placeholder="engine NAME   node NAME   events   drain NAME   theme light   quit",
                suggester=_Completer(self._view),
                compact=True,
            )

    def take_keys(self) -> None:
        """Have the input take keys from this moment on, not from when the screen has been drawn."""
        self.set_focus(self.query_one(Input))

    def action_complete(self) -> None:
        line = self.query_one(Input)
        found = completion(line.value, self._view)
        if found is not None:
            line.value = found
            line.cursor_position = len(found)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        try:
            self.dismiss(parse(message.value))
        except CommandError as error:
            self.notify(str(error), severity="warning", markup=False)
