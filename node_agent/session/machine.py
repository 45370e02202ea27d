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
from node_agent.session.commands import Command, Hello, Report, Welcome
from node_agent.session.facts import Device, EngineStatus, NodeEvent, Severity
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
    SaveEpoch,
    Send,
    TickElapsed,
    WelcomeReceived,
)

EVENTS_WAITING_MAX = 200
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


@dataclass(frozen=True, slots=True)
class SessionState:
    phase: Phase = Phase.DOWN
    epoch_seen: int = 0  # the highest leader epoch ever heard of; survives restarts through SaveEpoch
    report_interval_seconds: float = 1.0
    sequence: int = 0  # of the last report in this session
    devices_told: tuple[Device, ...] = ()
    failures: int = 0  # links that failed in a row, without one that lasted
    cut_off_since: datetime | None = None  # None: linked, or never linked yet
    failure_told: tuple[LinkFailure, str] | None = None  # what was logged last, so that a long outage is one line
    events: tuple[NodeEvent, ...] = ()  # waiting for a link
    events_dropped: int = 0
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def established(self) -> bool:
        return self.phase is Phase.ESTABLISHED


Step = tuple[SessionState, tuple[Effect, ...]]


def advance(state: SessionState, event: Event, now: datetime, policy: SessionPolicy) -> Step:
    match event:
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
        case TickElapsed(engines, devices):
            return _tick(state, engines, devices, now)
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
        capabilities=CAPABILITIES,
    )
    ledger = commands.observe(commands.unlink(state.ledger), engines, now)
    state = replace(state, phase=Phase.GREETING, sequence=0, devices_told=devices, ledger=ledger)
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
        ledger=ledger,
    )
    return state, tuple(effects)


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
    state = replace(state, ledger=ledger)
    if command.leader_epoch > state.epoch_seen:
        # First on disk, then obeyed: after a restart an older leader must still be refused.
        return replace(state, epoch_seen=command.leader_epoch), (SaveEpoch(command.leader_epoch), *effects)
    return state, effects


def _tick(state: SessionState, engines: tuple[EngineStatus, ...], devices: tuple[Device, ...], now: datetime) -> Step:
    state = replace(state, ledger=commands.observe(state.ledger, engines, now))
    if not state.established:
        return state, ()
    changed = devices if devices != state.devices_told else ()
    report = Report(sequence=state.sequence + 1, sent_at=now, engines=engines, devices=changed)
    # A link that lasted for a report is a good one: the next loss starts with short waits again.
    return replace(state, sequence=report.sequence, devices_told=devices, failures=0), (Send(report),)


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
