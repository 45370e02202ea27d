"""Every command that this agent heard of, from its arrival until the control plane has its outcome.

The machine calls these pure functions; each returns a new ledger and the effects. Promises: a command id is carried out
at most once, one engine has at most one command running, and an outcome is kept until it is acknowledged. The control
plane may or may not acknowledge ACCEPTED as well; since the stream is ordered, an outcome counts as received when as
many acknowledgements came over this link as messages about the command were sent over it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from node_agent.session.commands import (
    Command,
    CommandStatus,
    LoadAdapterAction,
    Outcome,
    ProbeAction,
    ReportIntervalAction,
    StartAction,
    StopAction,
    UnloadAdapterAction,
)
from node_agent.session.facts import EngineStatus
from node_agent.session.fences import refusal, superseded
from node_agent.session.protocol import (
    Effect,
    RunLoadAdapter,
    RunProbe,
    RunReportInterval,
    RunStart,
    RunStop,
    RunUnloadAdapter,
    Send,
)

OUTCOMES_REMEMBERED_MAX = 1024
# A control plane that acknowledges only final outcomes leaves one acknowledgement missing: after this long without it,
# the outcome is taken as received. A link that broke meanwhile starts the count anew, so nothing is lost by it.
_ACKNOWLEDGE_GRACE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Entry:
    command: Command
    outcome: Outcome | None = None  # how it ended; None while it waits or runs
    sent_count: int = 0  # messages about it over the link that is up
    acknowledged_count: int = 0  # likewise
    acknowledged_at: datetime | None = None
    settled: bool = False  # the control plane has the outcome; kept only to recognise the id


@dataclass(frozen=True, slots=True)
class Ledger:
    entries: Mapping[str, Entry] = field(default_factory=dict)  # by command id, in order of arrival
    running: Mapping[str, str] = field(default_factory=dict)  # lane -> command id
    waiting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # lane -> command ids
    generations: Mapping[str, int] = field(default_factory=dict)  # engine id -> newest accepted or seen running

    @property
    def unfinished_count(self) -> int:
        return len(self.running) + sum(len(queue) for queue in self.waiting.values())


Step = tuple[Ledger, tuple[Effect, ...]]


def lane(command: Command) -> str:
    """Commands of one lane run one after the other: an engine's, and what is about the whole node by kind."""
    match command.action:
        case ProbeAction():
            return "#probe"  # no engine id begins so
        case ReportIntervalAction():
            return "#report_interval"
        case _:
            return command.engine_id


def receive(
    ledger: Ledger, command: Command, *, agent_version: str, epoch_seen: int, linked: bool, now: datetime
) -> Step:
    """A command arrived: run it, queue it, refuse it, or repeat what became of it."""
    known = ledger.entries.get(command.command_id)
    if known is not None:
        # Whoever asks again has lost the outcome, so it is owed again until acknowledged.
        ledger = _with(ledger, replace(known, settled=False))
        return _tell(ledger, known.outcome or _accepted(command, now), linked=linked)
    ledger = replace(ledger, entries={**_with_room(ledger.entries), command.command_id: Entry(command)})
    why = refusal(
        command,
        agent_version=agent_version,
        epoch_seen=epoch_seen,
        generation=ledger.generations.get(command.engine_id, 0),
        waiting_count=ledger.unfinished_count,
    )
    if why is not None:
        return _end(ledger, command, CommandStatus.REFUSED, why, linked=linked, now=now)
    ledger, told = _tell(ledger, _accepted(command, now), linked=linked)
    ledger, started = start_next(queued(ledger, command), lane(command), linked=linked, now=now)
    return ledger, told + started


def queued(ledger: Ledger, command: Command) -> Ledger:
    """An accepted command waits for its turn; from now on older generations of its engine are refused."""
    if isinstance(command.action, StartAction | StopAction):
        ledger = replace(ledger, generations={**ledger.generations, command.engine_id: command.generation})
    key = lane(command)
    return replace(ledger, waiting={**ledger.waiting, key: (*ledger.waiting.get(key, ()), command.command_id)})


def finish(ledger: Ledger, command_id: str, *, succeeded: bool, message: str, linked: bool, now: datetime) -> Step:
    """A running command ended: tell its outcome and start the next one of that engine."""
    entry = ledger.entries.get(command_id)
    if entry is None or ledger.running.get(lane(entry.command)) != command_id:
        return ledger, ()
    command = entry.command
    running = {key: running_id for key, running_id in ledger.running.items() if key != lane(command)}
    generations = ledger.generations
    if succeeded and _forgets(command) and generations.get(command.engine_id) == command.generation:
        # The placement is gone. Should its id ever be used again, its generations start anew.
        generations = {engine: number for engine, number in generations.items() if engine != command.engine_id}
    ledger = replace(ledger, running=running, generations=generations)
    status = CommandStatus.SUCCEEDED if succeeded else CommandStatus.FAILED
    ledger, told = _end(ledger, command, status, message, linked=linked, now=now)
    ledger, started = start_next(ledger, lane(command), linked=linked, now=now)
    return ledger, told + started


def acknowledge(ledger: Ledger, command_id: str, now: datetime) -> Ledger:
    entry = ledger.entries.get(command_id)
    if entry is None or entry.sent_count == 0:
        return ledger
    count = entry.acknowledged_count + 1
    settled = entry.settled or (entry.outcome is not None and count >= entry.sent_count)
    return _with(ledger, replace(entry, acknowledged_count=count, acknowledged_at=now, settled=settled))


def repeat_outcomes(ledger: Ledger) -> Step:
    """The link is back: say everything again that was never acknowledged, oldest first."""
    effects: tuple[Effect, ...] = ()
    for entry in tuple(ledger.entries.values()):
        if entry.outcome is not None and not entry.settled:
            ledger, told = _tell(ledger, entry.outcome, linked=True)
            effects += told
    return ledger, effects


def unlink(ledger: Ledger) -> Ledger:
    """The link is gone, and with it what was sent or acknowledged half-way."""
    entries = {
        key: replace(entry, sent_count=0, acknowledged_count=0, acknowledged_at=None)
        for key, entry in ledger.entries.items()
    }
    return replace(ledger, entries=entries)


def observe(ledger: Ledger, engines: Iterable[EngineStatus], now: datetime) -> Ledger:
    """Learn the generations that really run, and settle what was acknowledged but for the grace."""
    newer = {
        engine.engine_id: engine.generation
        for engine in engines
        if engine.generation > ledger.generations.get(engine.engine_id, 0)
    }
    if newer:
        ledger = replace(ledger, generations={**ledger.generations, **newer})
    for entry in tuple(ledger.entries.values()):
        if entry.settled or entry.outcome is None or entry.acknowledged_at is None:
            continue
        if now - entry.acknowledged_at > _ACKNOWLEDGE_GRACE:
            ledger = _with(ledger, replace(entry, settled=True))
    return ledger


def start_next(ledger: Ledger, key: str, *, linked: bool, now: datetime) -> Step:
    """Begin what waits in this lane, if nothing of it runs."""
    effects: tuple[Effect, ...] = ()
    while key not in ledger.running and ledger.waiting.get(key):
        command_id, *rest = ledger.waiting[key]
        waiting = {**ledger.waiting, key: tuple(rest)} if rest else _without(ledger.waiting, key)
        ledger = replace(ledger, waiting=waiting)
        command = ledger.entries[command_id].command
        stale = superseded(command, ledger.generations.get(command.engine_id, 0))
        if stale is not None:
            ledger, told = _end(ledger, command, CommandStatus.REFUSED, stale, linked=linked, now=now)
            effects += told
            continue
        ledger = replace(ledger, running={**ledger.running, key: command_id})
        effects += _run(command)
    return ledger, effects


def _run(command: Command) -> tuple[Effect, ...]:
    match command.action:
        case StartAction(spec):
            # The envelope names the engine; a spec that says otherwise is not followed.
            spec = replace(spec, engine_id=command.engine_id, generation=command.generation)
            return (RunStart(command.command_id, spec),)
        case StopAction(drain_seconds_max, forget):
            return (RunStop(command.command_id, command.engine_id, drain_seconds_max, forget),)
        case LoadAdapterAction(name, source):
            return (RunLoadAdapter(command.command_id, command.engine_id, name, source),)
        case UnloadAdapterAction(name):
            return (RunUnloadAdapter(command.command_id, command.engine_id, name),)
        case ProbeAction(force):
            return (RunProbe(command.command_id, force),)
        case ReportIntervalAction(seconds):
            return (RunReportInterval(command.command_id, seconds),)
        case _:
            return ()


def _end(ledger: Ledger, command: Command, status: CommandStatus, message: str, *, linked: bool, now: datetime) -> Step:
    outcome = Outcome(command.command_id, status, message, now)
    ledger = _with(ledger, replace(ledger.entries[command.command_id], outcome=outcome))
    return _tell(ledger, outcome, linked=linked)


def _tell(ledger: Ledger, outcome: Outcome, *, linked: bool) -> Step:
    if not linked:
        return ledger, ()
    entry = ledger.entries[outcome.command_id]
    return _with(ledger, replace(entry, sent_count=entry.sent_count + 1)), (Send(outcome),)


def _accepted(command: Command, now: datetime) -> Outcome:
    return Outcome(command.command_id, CommandStatus.ACCEPTED, "will be carried out", now)


def _forgets(command: Command) -> bool:
    return isinstance(command.action, StopAction) and command.action.forget


def _with(ledger: Ledger, entry: Entry) -> Ledger:
    return replace(ledger, entries={**ledger.entries, entry.command.command_id: entry})


def _without(mapping: Mapping[str, tuple[str, ...]], key: str) -> dict[str, tuple[str, ...]]:
    return {name: value for name, value in mapping.items() if name != key}


def _with_room(entries: Mapping[str, Entry]) -> Mapping[str, Entry]:
    """Drop the oldest that nobody waits for; where a flood left only unacknowledged ones, the oldest that ended."""
    if len(entries) < OUTCOMES_REMEMBERED_MAX:
        return entries
    ended = (key for key, entry in entries.items() if entry.settled)
    victim = next(ended, None) or next((key for key, entry in entries.items() if entry.outcome is not None), None)
    return {key: entry for key, entry in entries.items() if key != victim}
