"""Every action of the console, once: what it is called, who may do it, what it calls, and its twin on the command line.

The action menu, the dialogs, the command palette, the `:` line and the help read this registry; a test holds it against
the commands of `stoker`. Knows no widget. Nothing is ever done here without a caller that asked first.
"""

import shlex
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from console.model.answers import ActionAnswer
from console.model.fleet_view import FleetView
from console.model.format import clean
from console.model.overview import Moment, Topic


class OperatorCalls(Protocol):
    """What the actions need of a client; `console.link.client.OperatorClient` has it."""

    async def place(
        self,
        model: str,
        node: str,
        *,
        source: str = "",
        engine_args: Iterable[str] = (),
        device_ids: Iterable[str] = (),
        deployment: str = "",
        dry_run: bool = False,
    ) -> ActionAnswer: ...

    async def remove(self, *, placement_id: str, reason: str = "", dry_run: bool = False) -> ActionAnswer: ...

    async def drain(
        self, *, placement_id: str = "", node: str = "", reason: str = "", dry_run: bool = False
    ) -> ActionAnswer: ...

    async def resume(
        self, *, placement_id: str = "", node: str = "", reason: str = "", dry_run: bool = False
    ) -> ActionAnswer: ...

    async def restart(
        self,
        *,
        placement_id: str,
        engine_args: Iterable[str] | None = None,
        reason: str = "",
        dry_run: bool = False,
    ) -> ActionAnswer: ...

    async def forget_node(self, node: str, *, dry_run: bool = False) -> ActionAnswer: ...


class Role(IntEnum):
    """Who may do what; a higher one may all that a lower one may."""

    VIEWER = 0
    OPERATOR = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class Request:
    """What an action is to be done with. Empty fields are left to the control plane."""

    placement_id: str = ""
    node: str = ""
    model: str = ""
    source: str = ""
    device_ids: tuple[str, ...] = ()
    engine_args: tuple[str, ...] = ()
    reason: str = ""

    @property
    def name(self) -> str:
        """What the operator types to confirm."""
        return self.placement_id or self.node


@dataclass(frozen=True, slots=True)
class Action:
    id: str
    title: str
    key: str  # pressed in the action menu, never alone
    summary: str  # what it does, in a sentence
    twin: str  # the command: "stoker node forget"
    words: Callable[[Request], tuple[str, ...]]  # the twin's arguments
    call: Callable[[OperatorCalls, Request, bool], Awaitable[ActionAnswer]]  # the last: dry run
    needs_role: Role
    destructive: bool  # cannot be undone: asks for the name
    applies_to: frozenset[Topic]
    undo: str = ""  # the id of the action that takes it back

    def command_line(self, request: Request) -> str:
        """The same by command, ready to paste."""
        return shlex.join((*self.twin.split(), *self.words(request)))


def _target_words(request: Request) -> tuple[str, ...]:
    target = (request.placement_id,) if request.placement_id else ("--node", request.node)
    return (*target, *_reason_words(request))


def _reason_words(request: Request) -> tuple[str, ...]:
    return ("--reason", request.reason) if request.reason else ()


def _place_words(request: Request) -> tuple[str, ...]:
    devices = tuple(word for device in request.device_ids for word in ("--device", device))
    source = ("--source", request.source) if request.source else ()
    tail = ("--", *request.engine_args) if request.engine_args else ()
    return (request.model, "--node", request.node, *source, *devices, *tail)


def _place(client: OperatorCalls, request: Request, dry_run: bool) -> Awaitable[ActionAnswer]:
    return client.place(
        request.model,
        request.node,
        source=request.source,
        engine_args=request.engine_args,
        device_ids=request.device_ids,
        dry_run=dry_run,
    )


def _drain(client: OperatorCalls, request: Request, dry_run: bool) -> Awaitable[ActionAnswer]:
    return client.drain(placement_id=request.placement_id, node=request.node, reason=request.reason, dry_run=dry_run)


def _resume(client: OperatorCalls, request: Request, dry_run: bool) -> Awaitable[ActionAnswer]:
    return client.resume(placement_id=request.placement_id, node=request.node, reason=request.reason, dry_run=dry_run)


def _remove(client: OperatorCalls, request: Request, dry_run: bool) -> Awaitable[ActionAnswer]:
    return client.remove(placement_id=request.placement_id, reason=request.reason, dry_run=dry_run)


def _restart(client: OperatorCalls, request: Request, dry_run: bool) -> Awaitable[ActionAnswer]:
    """With the arguments that it has; others are given on the command line."""
    return client.restart(placement_id=request.placement_id, reason=request.reason, dry_run=dry_run)


def _forget(client: OperatorCalls, request: Request, dry_run: bool) -> Awaitable[ActionAnswer]:
    return client.forget_node(request.node, dry_run=dry_run)


ACTIONS: tuple[Action, ...] = (
    Action(
        "drain", "Drain", "d", "No new requests; those running finish, then it stops.", "stoker drain", _target_words, _drain,
        Role.OPERATOR, destructive=False, applies_to=frozenset({Topic.ENGINE, Topic.NODE}), undo="resume",
    ),
    Action(
        "resume", "Resume", "r", "Takes what was drained back into service.", "stoker resume", _target_words, _resume,
        Role.OPERATOR, destructive=False, applies_to=frozenset({Topic.ENGINE, Topic.NODE}), undo="drain",
    ),
    Action(
        "remove", "Remove", "x", "Drains the engine, stops it and forgets the placement.", "stoker remove",
        lambda request: (request.placement_id, *_reason_words(request)), _remove,
        Role.OPERATOR, destructive=True, applies_to=frozenset({Topic.ENGINE}),
    ),
    Action(
        "restart", "Restart", "s", "Starts the engine anew, with the arguments that it has.", "stoker restart",
        lambda request: (request.placement_id, *_reason_words(request)), _restart,
        Role.OPERATOR, destructive=False, applies_to=frozenset({Topic.ENGINE}),
    ),
    Action(
        "forget", "Forget node", "f", "Drops a node that has no placements and is gone for good.", "stoker node forget",
        lambda request: (request.node,), _forget,
        Role.ADMIN, destructive=True, applies_to=frozenset({Topic.NODE}),
    ),
    Action(
        "place", "Place a model", "p", "Starts an engine for a model on a node.", "stoker place", _place_words, _place,
        Role.OPERATOR, destructive=False, applies_to=frozenset(Topic), undo="remove",
    ),
)  # fmt: skip


def action_named(name: str) -> Action | None:
    return next((action for action in ACTIONS if action.id == name), None)


def request_for(action: Action, topic: Topic, subject: str, view: FleetView) -> Request:
    """What an action on this thing begins with."""
    if topic is Topic.NODE:
        return Request(node=subject)
    if action.id != "place":
        return Request(placement_id=subject)
    engine = view.engines.get(subject) if topic is Topic.ENGINE else None
    model = engine.model if engine else subject if topic is Topic.MODEL else ""
    sources = [row.source for row in view.placements.values() if row.model == model]
    return Request(model=model, source=sources[-1] if sources else "")


_THINGS = {
    Topic.ENGINE: "an engine",
    Topic.NODE: "a node",
    Topic.MODEL: "a model",
    Topic.SERVER: "the control plane",
}


def refusal(action: Action, topic: Topic, view: FleetView, moment: Moment, *, read_only: bool) -> str | None:
    """Why this action cannot be done now; None: it can."""
    if topic not in action.applies_to:
        return f"not for {_THINGS[topic]}"
    if read_only:
        return "this console is read-only"
    if not moment.live:
        return "the control plane is not connected"
    role = clean(view.server.caller_role) if view.server else ""
    held = Role.__members__.get(role.upper(), Role.VIEWER)
    if held < action.needs_role:
        return f"needs the role {action.needs_role.name.lower()}; yours is {role or 'unknown'}"
    return None
