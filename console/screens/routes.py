"""Where things lead: a row to its screen, an order of the `:` line or the palette to a screen, a dialog, a theme, the end.

Called by `console.app`. It finds things by name in the view and never guesses between two.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from console.actions import Action, action_named
from console.command_words import Order
from console.dialogs.act import Hand
from console.model.fleet_view import FleetView
from console.model.format import clean
from console.model.overview import Topic
from console.screens.engine import EngineScreen
from console.screens.fleet_screen import FleetScreen
from console.screens.node import NodeScreen
from console.screens.overview import OverviewScreen
from console.themes import THEMES, theme_named

if TYPE_CHECKING:
    from console.app import StokerApp


class NotFoundError(Exception):
    """There is no such thing, or there are several; the message says which."""


def go_to(app: "StokerApp", topic: Topic, subject: str) -> None:
    """Opens the screen of a thing; of a model, its engines on the overview."""
    screen: FleetScreen | None = None
    if topic is Topic.ENGINE:
        screen = EngineScreen(subject, app.credentials_name, read_only=app.read_only)
    elif topic is Topic.NODE:
        screen = NodeScreen(subject, app.credentials_name, read_only=app.read_only)
    elif topic is Topic.MODEL and isinstance(app.front, OverviewScreen):
        app.front.show_model(subject)
    if screen is not None:
        screen.mode = app.current_mode
        screen.show(app.view, app.moment)
        app.push_screen(screen)


async def follow(app: "StokerApp", order: Order) -> None:
    """Carries an order out, or tells why not."""
    try:
        await carry_out(app, order)
    except NotFoundError as error:
        app.notify(str(error), severity="warning", markup=False)


async def carry_out(app: "StokerApp", order: Order) -> None:
    """Raises NotFoundError. An action lasts until its dialog closes, and needs a worker."""
    name = order.command.name
    action = action_named(name)
    if action is not None:
        await _act(app, action, order.argument)
    elif name in ("overview", "events"):
        await app.action_mode(name)
    elif name in ("engine", "node", "model"):
        topic = Topic(name)
        if topic is Topic.MODEL and not isinstance(app.front, OverviewScreen):
            await app.action_mode("overview")
        go_to(app, topic, found(_names(app.view, topic), order.argument, name))
    elif name == "theme":
        _wear(app, order.argument)
    elif name == "help":
        app.action_help()
    else:
        app.exit()


async def _act(app: "StokerApp", action: Action, argument: str) -> None:
    if action.id == "place":
        await Hand(app, Topic.SERVER, "").carry_out(action)
        return
    names = {topic: _names(app.view, topic) for topic in (Topic.NODE, Topic.ENGINE) if topic in action.applies_to}
    subject = found([name for known in names.values() for name in known], argument, "node or engine")
    topic = next(topic for topic, known in names.items() if subject in known)
    await Hand(app, topic, subject).carry_out(action)


def _names(view: FleetView, topic: Topic) -> list[str]:
    known: dict[Topic, Iterable[str]] = {Topic.ENGINE: view.engines, Topic.NODE: view.nodes, Topic.MODEL: view.models}
    return list(known[topic])


def found(names: list[str], wanted: str, kind: str) -> str:
    """The one name that is meant: itself, or the only one that holds the text."""
    exact = [name for name in names if wanted in (name, clean(name))]
    if exact:
        return exact[0]
    holding = [name for name in names if wanted.lower() in clean(name).lower()]
    if len(holding) == 1:
        return holding[0]
    if not holding:
        raise NotFoundError(f"There is no {kind} {clean(wanted)}.")
    some = ", ".join(clean(name) for name in sorted(holding)[:4])
    raise NotFoundError(f"{clean(wanted)} may be {some}{' …' if len(holding) > 4 else ''}: write more of it.")


def _wear(app: "StokerApp", wanted: str) -> None:
    name = theme_named(wanted) or (wanted if wanted in app.available_themes else None)
    if name is None:
        known = ", ".join(theme.name.removeprefix("stoker-") for theme in THEMES)
        raise NotFoundError(f"There is no theme {clean(wanted)}. There are {known}.")
    app.theme = name
