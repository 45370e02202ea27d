"""One action from the key to its outcome: menu, form where one is needed, dry run and confirmation, call, result.

`console.app` starts it as a worker. The only module of the console that carries an action out, and only with a request
that an operator confirmed.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.actions import ACTIONS, Action, OperatorCalls, Request, action_named, refusal, request_for
from console.dialogs.action_menu import ActionMenu
from console.dialogs.confirm import ConfirmDialog
from console.dialogs.place_form import PlaceForm
from console.link.errors import LinkError
from console.model.answers import ActionAnswer
from console.model.format import clean
from console.model.overview import Topic

if TYPE_CHECKING:
    from console.app import StokerApp


@dataclass(frozen=True, slots=True)
class Hand:
    """Acts on one thing on behalf of the app."""

    app: "StokerApp"
    topic: Topic
    subject: str

    async def choose(self) -> None:
        """From the menu of all actions."""
        offers = tuple((action, self._refusal(action)) for action in ACTIONS if self.topic in action.applies_to)
        title = f"{self.topic.value} {self.subject}" if self.subject else "the fleet"
        chosen = await self.app.push_screen_wait(ActionMenu(title, offers))
        action = action_named(chosen or "")
        if action is not None:
            await self.carry_out(action)

    async def carry_out(self, action: Action) -> None:
        """This action: shown first, done only when confirmed."""
        why = self._refusal(action)
        if why is not None:
            self._tell(f"{action.title} cannot be done: {why}.", severity="warning")
            return
        request: Request | None = request_for(action, self.topic, self.subject, self.app.view)
        if action.id == "place" and request is not None:
            request = await self.app.push_screen_wait(PlaceForm(request, self.app.view))
        if request is None:
            return
        await self._confirm_and_call(action, request)

    async def _confirm_and_call(self, action: Action, request: Request) -> None:
        client: OperatorCalls = self.app.client
        confirmed = await self.app.push_screen_wait(
            ConfirmDialog(action, request, lambda: action.call(client, request, True), self._when(action, request))
        )
        if confirmed is None:
            return
        why = self._refusal(action)  # the link may have gone while the dialog was open
        if why is not None:
            self._tell(f"{action.title} was not done: {why}.", severity="error")
            return
        try:
            answer = await action.call(client, confirmed, False)
        except LinkError as error:
            self._tell(f"{action.title} failed: {clean(error.message)}", severity="error")
            return
        self._tell_outcome(action, confirmed, answer)

    def _when(self, action: Action, request: Request) -> str:
        """An engine is started by its node's agent: while that is away, what is confirmed waits for it."""
        placement = self.app.view.placements.get(request.placement_id)
        node = self.app.view.nodes.get(placement.node if placement is not None else request.node)
        if action.id not in ("restart", "place") or node is None or node.connected:
            return "now"
        return f"when {clean(node.name)} is back"

    def _refusal(self, action: Action) -> str | None:
        return refusal(action, self.topic, self.app.view, self.app.moment, read_only=self.app.read_only)

    def _tell_outcome(self, action: Action, request: Request, answer: ActionAnswer) -> None:
        if not answer.changed:
            self._tell(f"{action.title}: it was so already; nothing was changed.")
            return
        steps = " ".join(clean(step) for step in answer.steps)
        undo = action_named(action.undo)
        back = request
        if undo is not None and undo.id == "remove":
            back = Request(placement_id=answer.placement_ids[0] if answer.placement_ids else "")
        hint = f"\nUndo: {clean(undo.command_line(back))}" if undo and back.name else ""
        self._tell(f"✓ {action.title}: {steps}{hint}")

    def _tell(self, text: str, severity: str = "information") -> None:
        seconds = 12.0 if severity == "information" else 30.0
        self.app.notify(text, severity=severity, markup=False, timeout=seconds)  # type: ignore[arg-type]
