"""Shows what an action will do before it is done: the control plane's own steps, the command line, the name to type.

Opened by `console.dialogs.act`; closes with the request to carry out, or None. It makes one call, the dry run; the real
one is the caller's.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from console.actions import Action, Request
from console.link.errors import LinkError
from console.model.answers import ActionAnswer
from console.model.format import clean
from console.widgets.spans import CROSS, Line, Tone, content, say, span


class ConfirmDialog(ModalScreen[Request | None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Leave it"),
        Binding("ctrl+y", "copy", "Copy the command"),
    ]

    def __init__(
        self, action: Action, request: Request, ask: Callable[[], Awaitable[ActionAnswer]], when: str = "now"
    ) -> None:
        """`ask` makes the dry run. `when`: what is confirmed would happen, as the button says it."""
        super().__init__()
        self._action = action
        self._request = request
        self._ask = ask
        self._when = when
        self._possible = False  # the dry run said that it can be done

    def compose(self) -> ComposeResult:
        action = self._action
        with Vertical(classes="dialog" + (" -destructive" if action.destructive else "")) as box:
            box.border_title = Content(f"{action.title} {clean(self._request.name)}")
            box.border_subtitle = Content("nothing is done yet")
            with VerticalScroll(can_focus=False):
                yield Static("", id="steps", markup=False)
            if action.id in ("drain", "resume", "remove", "restart"):
                yield Input(placeholder="why, for the others to read (may stay empty)", id="reason", compact=True)
            yield Static("", id="twin", markup=False)
            if action.destructive:
                yield Static(content([self._typing_line()]), id="ask", markup=False)
                yield Input(placeholder="type the name", id="name", compact=True)
            with Horizontal(classes="buttons"):
                yield Button("Leave it", id="leave", compact=True)
                yield Button(f"{action.title} {self._when}", id="go", compact=True, disabled=True)
                yield Button("Copy command", id="copy", compact=True)

    def on_mount(self) -> None:
        self._show_twin()
        self._show([say("○ Asking the control plane what this would do …", Tone.DIM)])
        self.query_one("#name" if self._action.destructive else "#leave").focus()
        self.run_worker(self._dry_run(), exclusive=True)

    async def _dry_run(self) -> None:
        try:
            answer = await self._ask()
        except LinkError as error:
            self._show([say(f"{CROSS} It cannot be done:", Tone.BAD), say(error.message)])
            self.query_one("#go").display = False
            return
        lines: list[Line] = [say("This will happen:" if answer.changed else "Nothing would change:", Tone.STRONG)]
        lines += [(span(f" {number}  ", Tone.DIM), span(step)) for number, step in enumerate(answer.steps, start=1)]
        self._show(lines)
        self._possible = True
        self._weigh()

    def _show(self, lines: list[Line]) -> None:
        self.query_one("#steps", Static).update(content(lines))

    def _show_twin(self) -> None:
        line = (span("$ ", Tone.DIM), span(self._action.command_line(self._request), Tone.ACCENT))
        self.query_one("#twin", Static).update(content([line]))

    def _typing_line(self) -> Line:
        return (
            span("There is no undo. To go on, type ", Tone.WARN),
            span(self._request.name, Tone.STRONG),
            span(":", Tone.WARN),
        )

    @property
    def _named(self) -> bool:
        return not self._action.destructive or self.query_one("#name", Input).value == clean(self._request.name)

    def _weigh(self) -> None:
        self.query_one("#go", Button).disabled = not (self._possible and self._named)

    def on_input_changed(self, message: Input.Changed) -> None:
        if message.input.id == "reason":
            self._request = replace(self._request, reason=message.value.strip())
            self._show_twin()
        self._weigh()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        if message.input.id == "name":
            self._go()
        else:
            self.query_one("#go").focus()

    @on(Button.Pressed, "#go")
    def _go(self) -> None:
        if self._possible and self._named:
            self.dismiss(self._request)

    @on(Button.Pressed, "#leave")
    def _leave(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#copy")
    def action_copy(self) -> None:
        self.app.copy_to_clipboard(clean(self._action.command_line(self._request)))
        self.notify("The command is in the clipboard.", markup=False, timeout=3)
