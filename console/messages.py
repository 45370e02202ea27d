"""What widgets, screens and the feed tell the app: messages go up, attributes come down.

Posted by screens and by the feed's call-backs, handled by `console.app`. They carry plain rows and names, nothing that
draws. The protocols say what the app needs of a client and of a feed, so that tests may give it others.
"""

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from textual.message import Message

from console.actions import OperatorCalls
from console.model.apply import FleetUpdate
from console.model.fleet_view import Connection, FleetView
from console.model.overview import Topic


class ConsoleClient(OperatorCalls, Protocol):
    """What the console needs of `console.link.client.OperatorClient`."""

    def watch(self, boot_id: str, cursor: int, on_open: Callable[[], None]) -> AsyncIterator[FleetUpdate]: ...

    async def engine_log(self, engine_id: str, *, lines_max: int = 0) -> tuple[str, ...]: ...

    async def close(self) -> None: ...


class Runs(Protocol):
    """What the console needs of `console.link.feed.Feed`."""

    async def run(self) -> None: ...


OnView = Callable[[FleetView], None]
OnConnection = Callable[[Connection, str], None]
FeedFactory = Callable[[ConsoleClient, OnView, OnConnection], Runs]


class ViewArrived(Message):
    """The feed has a new view. A newer one replaces one that still waits: only the last counts."""

    def __init__(self, view: FleetView) -> None:
        super().__init__()
        self.view = view

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, ViewArrived)


class ConnectionChanged(Message):
    def __init__(self, connection: Connection, note: str) -> None:
        super().__init__()
        self.connection = connection
        self.note = note  # for people: what happened, what comes next


class GoTo(Message):
    """Show this thing on its own screen."""

    def __init__(self, topic: Topic, subject: str) -> None:
        super().__init__()
        self.topic = topic
        self.subject = subject  # a name or an id; "" for the control plane


class ActionsAsked(Message):
    """Show what can be done with this thing."""

    def __init__(self, topic: Topic, subject: str) -> None:
        super().__init__()
        self.topic = topic
        self.subject = subject


class LogAsked(Message):
    """Show the end of this engine's log."""

    def __init__(self, engine_id: str) -> None:
        super().__init__()
        self.engine_id = engine_id


class CameToFront(Message):
    """A screen is in front again and wants what it missed."""
