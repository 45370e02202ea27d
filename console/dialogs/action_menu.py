"""What can be done with one thing: the actions with their keys, and why some cannot be done now.

Opened by `console.dialogs.act`; closes with the id of the chosen action or None. It does nothing itself: every choice
leads to a dialog that shows what will happen.
"""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from console.actions import Action
from console.model.format import clean
from console.widgets.spans import Line, Tone, content, fitted, say, span

Offer = tuple[Action, str | None]  # an action, and why it cannot be done


class ActionMenu(ModalScreen[str | None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, title: str, offers: tuple[Offer, ...]) -> None:
        super().__init__()
        self._title = title
        self._offers = offers

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(clean(self._title))
            box.border_subtitle = Content("Enter or its key chooses · Esc leaves")
            yield OptionList(*(_option(action, why) for action, why in self._offers), markup=False)
            yield Static("", id="why", markup=False)

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(message.option_id)

    def on_option_list_option_highlighted(self, message: OptionList.OptionHighlighted) -> None:
        chosen = next((action for action, _ in self._offers if action.id == message.option_id), None)
        self.query_one("#why", Static).update(content([say(chosen.summary if chosen else "", Tone.DIM)]))

    def on_key(self, event: events.Key) -> None:
        for action, why in self._offers:
            if event.key == action.key:
                event.stop()
                if why is None:
                    self.dismiss(action.id)
                else:
                    self.query_one("#why", Static).update(content([say(f"∅ {action.title}: {why}", Tone.WARN)]))


def _option(action: Action, why: str | None) -> Option:
    line: Line = (
        span(f" {action.key}  ", Tone.DIM if why else Tone.ACCENT),
        *fitted(say(action.title, Tone.DIM if why else Tone.STRONG), 15),
        span(f"∅ {why}" if why else action.twin, Tone.DIM),
    )
    return Option(content([line]), id=action.id, disabled=why is not None)
