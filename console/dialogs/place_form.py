"""Asks what to place where. Closes with a request for the dry run that follows, or None; it calls nothing itself."""

import shlex
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, Label, Static

from console.actions import Request
from console.model.fleet_view import FleetView
from console.model.format import clean
from console.widgets.spans import CROSS, Tone, content, say

FIELDS = (
    ("model", "Model", "the name that clients ask for"),
    ("node", "Node", "where"),
    ("source", "Source", "path on the node or model id; empty: the deployment's own"),
    ("devices", "Devices", "cuda:0 cuda:1; empty: the node's own choice"),
    ("args", "vLLM arguments", "--max-model-len 8192; may stay empty"),
)


class PlaceForm(ModalScreen[Request | None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave it")]

    def __init__(self, request: Request, view: FleetView) -> None:
        super().__init__()
        self._request = request
        self._known = {
            "model": [clean(name) for name in view.models],
            "node": [clean(row.name) for row in view.nodes.values() if not row.cordoned],
        }

    def compose(self) -> ComposeResult:
        values = {"model": self._request.model, "node": self._request.node, "source": self._request.source}
        with Vertical(classes="dialog") as box:
            box.border_title = Content("Place a model")
            box.border_subtitle = Content("next: what this will do")
            for name, label, hint in FIELDS:
                with Horizontal(classes="field"):
                    yield Label(label, markup=False)
                    known = self._known.get(name, [])
                    suggester = SuggestFromList(known, case_sensitive=False) if known else None
                    value = clean(values.get(name, ""))
                    yield Input(value, placeholder=hint, id=name, compact=True, suggester=suggester)
            yield Static("", id="wrong", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Leave it", id="leave", compact=True)
                yield Button("Show what this will do", id="go", compact=True)

    def on_mount(self) -> None:
        first = next((name for name, _, _ in FIELDS[:2] if not self._value(name)), "source")
        self.query_one(f"#{first}").focus()

    def _value(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    @on(Input.Submitted)
    @on(Button.Pressed, "#go")
    def _go(self) -> None:
        missing = next((name for name in ("model", "node") if not self._value(name)), None)
        if missing is not None:
            self._say_wrong(f"Name the {missing}.")
            self.query_one(f"#{missing}").focus()
            return
        try:
            engine_args = tuple(shlex.split(self._value("args")))
        except ValueError as error:
            self._say_wrong(f"The arguments cannot be read: {error}.")
            return
        self.dismiss(
            Request(
                model=self._value("model"),
                node=self._value("node"),
                source=self._value("source"),
                device_ids=tuple(self._value("devices").replace(",", " ").split()),
                engine_args=engine_args,
            )
        )

    def _say_wrong(self, text: str) -> None:
        self.query_one("#wrong", Static).update(content([say(f"{CROSS} {text}", Tone.BAD)]))

    @on(Button.Pressed, "#leave")
    def _leave(self) -> None:
        self.dismiss(None)
