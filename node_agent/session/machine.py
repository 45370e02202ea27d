"""The agent's session with the control plane as a pure state machine: (state, event, now) → (state, effects).

`node_agent.link.session_runner` feeds it what happens on the link and in the supervisor, and carries out the effects in
their order. It never does I/O, never reads a clock, never draws a random number, and never raises on what the control
plane sent.
"""

import math
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from node_agent.session import ledger as commands
from node_agent.session.backoff import BackoffPolicy
from node_agent.session.commands import Command, Hello, Report, SimulatedIdentity, Welcome
from node_agent.session.facts import Device, EngineStatus, NodeEvent
from node_agent.session.hardware import DeviceHealth, MemoryLedger
from node_agent.session.ledger import Ledger
from node_agent.session.protocol import (
    CAPABILITIES,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    CommandFinished,
    CommandReceived,
    Effect,
    Emit,
    Event,
    EventRaised,
    LinkDown,
    LinkFailure,
    LinkUp,
    OutcomeAcknowledged,
    Reconnect,
    Resumed,
    RunReportInterval,
    SaveEpoch,
    SaveOwed,
    Send,
    TickElapsed,
    WelcomeReceived,
)
from node_agent.session.resumption import owed, resume
from node_agent.session.values import Severity

EVENTS_WAITING_MAX = 200
CLOCK_ERROR_SECONDS_MAX = 2.0  # more than a slow link explains
_REPORT_INTERVAL_SECONDS_MIN = 0.1
_REPORT_INTERVAL_SECONDS_MAX = 60.0


class Phase(Enum):
    DOWN = "down"
    GREETING = "greeting"  # Hello is said, Welcome is awaited
    ESTABLISHED = "established"
    INCOMPATIBLE = "incompatible"  # waiting to dial again, slowly


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """What does not change while the agent runs."""

    agent_version: str
    boot_id: str
    os: str = ""
    backoff: BackoffPolicy = field(default_factory=BackoffPolicy)
    report_interval_seconds: float = 1.0  # until a Welcome says otherwise, and when it says nonsense
    capabilities: tuple[str, ...] = ()  # beside those of every agent
    stands_for: SimulatedIdentity | None = None  # of a simulated node


@dataclass(frozen=True, slots=True)
class SessionState:
    phase: Phase = Phase.DOWN
    epoch_seen: int = 0  # the highest leader epoch ever heard of; survives restarts through SaveEpoch
    report_interval_seconds: float = 1.0
    sequence: int = 0  # of the last report in this session
    devices_told: tuple[Device, ...] = ()
    health_told: tuple[DeviceHealth, ...] = ()
    memory_told: tuple[MemoryLedger, ...] = ()
    failures: int = 0  # links that failed in a row, without one that lasted
    cut_off_since: datetime | None = None  # None: linked, or never linked yet
    failure_told: tuple[LinkFailure, str] | None = None  # what was logged last, so that a long outage is one line
    events: tuple[NodeEvent, ...] = ()  # waiting for a link
    events_dropped: int = 0
    clock_error_told: bool = False  # so that a link that flaps does not repeat it
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def established(self) -> bool:
        return self.phase is Phase.ESTABLISHED


Step = tuple[SessionState, tuple[Effect, ...]]


def advance(state: SessionState, event: Event, now: datetime, policy: SessionPolicy) -> Step:
    after, effects = _advance(state, event, now, policy)
    if after.ledger is not state.ledger and (debt := owed(after.ledger)) != owed(state.ledger):
        # First on disk, then begun or told: a restart in between neither forgets a command nor repeats an outcome.
        effects = (SaveOwed(debt), *effects)
    return after, effects


def _advance(state: SessionState, event: Event, now: datetime, policy: SessionPolicy) -> Step:
    match event:
        case Resumed(debt, engines):
            ledger, effects = resume(debt, engines, now)
            return replace(state, ledger=ledger), effects
        case LinkUp(engines, devices):
            return _greet(state, engines, devices, now, policy)
        case LinkDown():
            return _lose(state, event, now, policy)
        case WelcomeReceived(welcome, draw):
            return _establish(state, welcome, draw, now, policy)
        case CommandReceived(command):
            return _command(state, command, now, policy)
        case CommandFinished(command_id, succeeded, message):
            ledger, effects = commands.finish(
                state.ledger, command_id, succeeded=succeeded, message=message, linked=state.established, now=now
            )
            return replace(state, ledger=ledger), effects
        case OutcomeAcknowledged(command_id):
            return replace(state, ledger=commands.acknowledge(state.ledger, command_id, now)), ()
        case TickElapsed():
            return _tick(state, event, now)
        case EventRaised(raised):
            return _raise(state, raised)


def _greet(
    state: SessionState,
    engines: tuple[EngineStatus, ...],
    devices: tuple[Device, ...],
    now: datetime,
    policy: SessionPolicy,
) -> Step:
    hello = Hello(
        protocol_version=PROTOCOL_VERSION,
        protocol_version_min=PROTOCOL_VERSION_MIN,
        agent_version=policy.agent_version,
        boot_id=policy.boot_id,
        devices=devices,
        engines=engines,
        leader_epoch_seen=state.epoch_seen,
        os=policy.os,
        capabilities=(*CAPABILITIES, *policy.capabilities),
        stands_for=policy.stands_for,
    )
    ledger = commands.observe(commands.unlink(state.ledger), engines, now)
    # What a session before this one was told of the hardware may have reached nobody.
    state = replace(
        state, phase=Phase.GREETING, sequence=0, devices_told=devices, health_told=(), memory_told=(), ledger=ledger
    )
    return state, (Send(hello),)


def _lose(state: SessionState, event: LinkDown, now: datetime, policy: SessionPolicy) -> Step:
    failures = state.failures + 1
    if state.phase is Phase.INCOMPATIBLE or event.failure.needs_a_person:
        wait = policy.backoff.slow_delay_seconds(event.draw)
    else:
        wait = policy.backoff.delay_seconds(failures, event.draw)
    # A session that we ended for its protocol keeps its own reason; the end of the stream says nothing new.
    told = (event.failure, event.message) if state.phase is not Phase.INCOMPATIBLE else state.failure_told
    effects: tuple[Effect, ...] = ()
    if told != state.failure_told:
        severity = Severity.ERROR if event.failure.needs_a_person else Severity.WARNING
        effects = (Emit(NodeEvent(f"link_{event.failure.value}", event.message, severity, now)),)
    state = replace(
        state,
        phase=Phase.DOWN,
        failures=failures,
        failure_told=told,
        cut_off_since=state.cut_off_since or now,
    )
    return state, (*effects, Reconnect(wait))


def _establish(state: SessionState, welcome: Welcome, draw: float, now: datetime, policy: SessionPolicy) -> Step:
    if state.phase is not Phase.GREETING:
        return state, ()
    if not PROTOCOL_VERSION_MIN <= welcome.protocol_version <= PROTOCOL_VERSION:
        return _part(state, welcome, draw, now, policy)
    effects: list[Effect] = []
    if welcome.leader_epoch > state.epoch_seen:
        state = replace(state, epoch_seen=welcome.leader_epoch)
        effects.append(SaveEpoch(welcome.leader_epoch))
    news: tuple[NodeEvent, ...] = ()
    if state.cut_off_since is not None:
        seconds = max(0.0, (now - state.cut_off_since).total_seconds())
        why = state.failure_told[1] if state.failure_told else ""
        restored = NodeEvent("link_restored", f"was cut off for {seconds:.0f} s: {why}", Severity.INFO, now)
        effects.append(Emit(restored))
        news = (restored,)
    if state.events_dropped:
        text = f"{state.events_dropped} events of this node were dropped while it was cut off"
        news = (*news, NodeEvent("events_dropped", text, Severity.WARNING, now))
    wrong_clock = _clock_error(welcome, now)
    if wrong_clock is not None and not state.clock_error_told:
        effects.append(Emit(wrong_clock))
        news = (*news, wrong_clock)
    ledger, repeated = commands.repeat_outcomes(state.ledger)
    effects += [*repeated, *(Send(event) for event in (*news, *state.events))]
    state = replace(
        state,
        phase=Phase.ESTABLISHED,
        report_interval_seconds=_report_interval(welcome.report_interval_seconds, policy),
        cut_off_since=None,
        failure_told=None,
        events=(),
        events_dropped=0,
        clock_error_told=wrong_clock is not None,
        ledger=ledger,
    )
    return state, tuple(effects)


def _clock_error(welcome: Welcome, now: datetime) -> NodeEvent | None:
    error = (now - welcome.now).total_seconds() if welcome.now is not None else 0.0
    if abs(error) <= CLOCK_ERROR_SECONDS_MAX:
        return None
    side = "ahead of" if error > 0 else "behind"
    text = f"this node's clock is {abs(error):.1f} s {side} the control plane's: times of its records are corrected by that"
    action = "run NTP on this node (chrony or systemd-timesyncd), and check the control plane's clock, too"
    return NodeEvent("clock_error", text, Severity.WARNING, now, action=action)


def _part(state: SessionState, welcome: Welcome, draw: float, now: datetime, policy: SessionPolicy) -> Step:
    theirs = welcome.protocol_version
    cure = (
        "upgrade stoker-agent on this node"
        if theirs > PROTOCOL_VERSION
        else "upgrade the control plane, or install an older stoker-agent"
    )
    message = (
        f"the control plane ({welcome.control_plane_version or 'of unknown version'}) speaks protocol {theirs}, "
        f"this agent ({policy.agent_version}) speaks {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}: {cure}"
    )
    told = (LinkFailure.REFUSED, message)
    effects: tuple[Effect, ...] = (Reconnect(policy.backoff.slow_delay_seconds(draw)),)
    if told != state.failure_told:
        effects = (Emit(NodeEvent("protocol_incompatible", message, Severity.ERROR, now)), *effects)
    return replace(
        state, phase=Phase.INCOMPATIBLE, failure_told=told, cut_off_since=state.cut_off_since or now
    ), effects


def _command(state: SessionState, command: Command, now: datetime, policy: SessionPolicy) -> Step:
    if not command.command_id:
        text = "the control plane sent a command without an id: it was ignored; upgrade the control plane"
        return _raise(state, NodeEvent("command_unreadable", text, Severity.WARNING, now))
    ledger, effects = commands.receive(
        state.ledger,
        command,
        agent_version=policy.agent_version,
        epoch_seen=state.epoch_seen,
        linked=state.established,
        now=now,
    )
    state, effects = _set_interval(replace(state, ledger=ledger), effects, now)
    if command.leader_epoch > state.epoch_seen:
        # First on disk, then obeyed: after a restart an older leader must still be refused.
        return replace(state, epoch_seen=command.leader_epoch), (SaveEpoch(command.leader_epoch), *effects)
    return state, effects


def _set_interval(state: SessionState, effects: tuple[Effect, ...], now: datetime) -> Step:
    """Carries out on the spot what is about this state alone."""
    done: list[Effect] = []
    for effect in effects:
        if not isinstance(effect, RunReportInterval):
            done.append(effect)
            continue
        text = f"a report every {effect.seconds:g} s until the session ends"
        ledger, told = commands.finish(
            state.ledger, effect.command_id, succeeded=True, message=text, linked=state.established, now=now
        )
        state = replace(state, report_interval_seconds=effect.seconds, ledger=ledger)
        done += told
    return state, tuple(done)


def _tick(state: SessionState, tick: TickElapsed, now: datetime) -> Step:
    state = replace(state, ledger=commands.observe(state.ledger, tick.engines, now))
    if not state.established:
        return state, ()
    report = Report(
        sequence=state.sequence + 1,
        sent_at=now,
        engines=tick.engines,
        devices=tick.devices if tick.devices != state.devices_told else (),
        health=tick.health if tick.health != state.health_told else (),
        memory=tick.memory if tick.memory != state.memory_told else (),
    )
    state = replace(
        state,
        sequence=report.sequence,
        devices_told=tick.devices,
        health_told=tick.health,
        memory_told=tick.memory,
        failures=0,  # a link that lasted for a report is a good one: the next loss starts with short waits again
    )
    return state, (Send(report),)


def _raise(state: SessionState, event: NodeEvent) -> Step:
    if state.established:
        return state, (Emit(event), Send(event))
    kept = (*state.events, event)[-EVENTS_WAITING_MAX:]
    dropped = len(state.events) + 1 - len(kept)
    return replace(state, events=kept, events_dropped=state.events_dropped + dropped), (Emit(event),)


def _report_interval(told: float, policy: SessionPolicy) -> float:
    if not math.isfinite(told) or told <= 0:
        return policy.report_interval_seconds
    return min(max(told, _REPORT_INTERVAL_SECONDS_MIN), _REPORT_INTERVAL_SECONDS_MAX)
