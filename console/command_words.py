"""The words of the `:` line: what they mean and how they complete. Pure; the line, the palette and the help read it."""

from collections.abc import Iterable
from dataclasses import dataclass

from console.actions import ACTIONS
from console.model.fleet_view import FleetView
from console.model.format import clean
from console.themes import THEMES


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    aliases: tuple[str, ...]
    argument: str  # "", "engine", "node", "thing", "theme": what follows
    what: str

    @property
    def usage(self) -> str:
        shown = {"": "", "thing": " NODE|ENGINE"}.get(self.argument, f" {self.argument.upper()}")
        alias = f", {self.aliases[0]}" if self.aliases else ""
        return f":{self.name}{alias}{shown}"


@dataclass(frozen=True, slots=True)
class Order:
    """A line that was understood."""

    command: Command
    argument: str


COMMANDS: tuple[Command, ...] = (
    Command("overview", ("ov", "pulse"), "", "models, what is wrong, engines, nodes"),
    Command("events", ("ev",), "", "the event log"),
    Command("engine", ("en",), "engine", "one engine"),
    Command("node", ("no",), "node", "one node"),
    Command("model", ("mo",), "model", "the engines of one model"),
    *(
        Command(action.id, (), "" if action.id == "place" else "node" if action.id == "forget" else "thing",
                f"{action.title[0].lower()}{action.title[1:]}: shows first what will happen")
        for action in ACTIONS
    ),
    Command("theme", (), "theme", "dark, light or high-contrast"),
    Command("help", ("h",), "", "help for this screen"),
    Command("quit", ("q",), "", "leave the console"),
)  # fmt: skip


class CommandError(Exception):
    """The line was not understood; the message says why."""


def parse(text: str) -> Order | None:
    """The order in a line; None for an empty one. Raises CommandError."""
    words = text.strip().removeprefix(":").split(maxsplit=1)
    if not words:
        return None
    command = _named(words[0])
    if command is None:
        raise CommandError(f"There is no :{clean(words[0])}. ? lists the words.")
    argument = words[1].strip() if len(words) > 1 else ""
    if command.argument and not argument:
        raise CommandError(f"Write {command.usage}.")
    return Order(command, argument)


def _named(word: str) -> Command | None:
    exact = [command for command in COMMANDS if word == command.name or word in command.aliases]
    if exact:
        return exact[0]
    beginning = [command for command in COMMANDS if command.name.startswith(word)]
    return beginning[0] if len(beginning) == 1 else None


def candidates(command: Command, view: FleetView) -> list[str]:
    """What may follow a command now."""
    names: dict[str, Iterable[str]] = {
        "engine": view.engines,
        "node": view.nodes,
        "model": view.models,
        "thing": (*view.nodes, *view.engines),
        "theme": [theme.name.removeprefix("stoker-") for theme in THEMES],
    }
    return sorted(names.get(command.argument, ()))


def completion(text: str, view: FleetView) -> str | None:
    """The whole line as it might go on; None when nothing fits."""
    head, space, tail = text.partition(" ")
    if not space:
        return next((command.name for command in COMMANDS if head and command.name.startswith(head)), None)
    command = _named(head)
    if command is None or not command.argument:
        return None
    known = candidates(command, view)
    found = next((name for name in known if name.startswith(tail)), None)
    found = found or next((name for name in known if name.lower().startswith(tail.lower())), None)
    return f"{head} {clean(found)}" if found else None
