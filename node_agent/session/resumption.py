"""What the agent still owes the control plane, and how it goes on with that after its own restart. Pure.

The machine calls `owed` after every step and has it made durable when it changed, and `resume` once at the start. An
outcome that was not acknowledged is told again, with the moment at which it came about, by which the control plane
knows it. What was interrupted is judged by what runs now, or carried on: every engine's command may be repeated without
harm.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from node_agent.session.commands import (
    Command,
    CommandStatus,
    Outcome,
    OwedCommand,
    ProbeAction,
    ReportIntervalAction,
    StartAction,
    StopAction,
)
from node_agent.session.facts import EngineState, EngineStatus
from node_agent.session.ledger import Entry, Ledger, Step, lane, queued, start_next
from node_agent.session.protocol import Effect

Engines = Mapping[str, EngineStatus]


def owed(ledger: Ledger) -> tuple[OwedCommand, ...]:
    """Every command whose outcome the control plane does not have yet, in order of arrival."""
    return tuple(OwedCommand(entry.command, entry.outcome) for entry in ledger.entries.values() if not entry.settled)


def resume(owed: tuple[OwedCommand, ...], engines: tuple[EngineStatus, ...], now: datetime) -> Step:
    """The ledger as it goes on, and what is to be begun again. Nothing is told: there is no link yet."""
    running = {engine.engine_id: engine for engine in engines}
    ledger = Ledger()
    lanes: dict[str, None] = {}
    for item in owed:
        command = item.command
        outcome = item.outcome
        if outcome is None or _undone(command, outcome, running):
            outcome = _judged(command, running, now)
        ledger = replace(ledger, entries={**ledger.entries, command.command_id: Entry(command, outcome)})
        if outcome is None:
            ledger = queued(ledger, command)
            lanes[lane(command)] = None
    effects: tuple[Effect, ...] = ()
    for key in lanes:
        ledger, begun = start_next(ledger, key, linked=False, now=now)
        effects += begun
    return ledger, effects


def _undone(command: Command, outcome: Outcome, engines: Engines) -> bool:
    """A start that succeeded, and whose engine is gone: the machine was restarted before anybody heard of it."""
    started = isinstance(command.action, StartAction) and outcome.status is CommandStatus.SUCCEEDED
    return started and command.engine_id not in engines


def _judged(command: Command, engines: Engines, now: datetime) -> Outcome | None:
    """How an interrupted command ended, as far as that can be seen; None: it is carried on."""
    engine = engines.get(command.engine_id)
    match command.action:
        case StartAction() if engine is not None and engine.generation == command.generation:
            if engine.state in (EngineState.DRAINING, EngineState.STOPPING, EngineState.STOPPED):
                return None
            text = f"the agent restarted meanwhile; engine {command.engine_id} is {engine.state.value}"
            return Outcome(command.command_id, CommandStatus.SUCCEEDED, text, now)
        case StopAction() if engine is None:
            text = f"engine {command.engine_id} has stopped; the agent restarted meanwhile"
            return Outcome(command.command_id, CommandStatus.SUCCEEDED, text, now)
        case ProbeAction() | ReportIntervalAction():
            text = "the agent restarted before it was done: ask for it again"
            return Outcome(command.command_id, CommandStatus.FAILED, text, now)
        case _:
            return None
