"""The agents' open sessions: who is connected, and what was commanded but not answered.

Called by `rpc.agent_service` (opens, closes, outcomes) and `services.reconcile_fleet` (sends). A node has one session: a new
one takes the place of the old. Commands wait in a bounded queue per session and are never sent twice in one session.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from controlplane.fleet.node_commands import LogRequest, ProbeCommand, ReportIntervalCommand
from controlplane.fleet.node_records import RecordsReceived
from controlplane.policies.placement.reconcile import PlacementCommand

AgentCommand = PlacementCommand | ProbeCommand | ReportIntervalCommand
QUEUE_MAX = 1000


class CommandStatus(Enum):
    """What an agent made of a command."""

    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"

    @property
    def final(self) -> bool:
        return self is not CommandStatus.ACCEPTED


@dataclass(frozen=True, slots=True)
class Outcome:
    command_id: str
    status: CommandStatus
    message: str
    at: datetime | None = None  # when it came about, by the node's clock: the same however often it is told


@dataclass(frozen=True, slots=True)
class ResidencyWanted:
    """Everything that the agent knows of an engine's resident prefixes is wanted again."""

    engine_id: str


@dataclass(eq=False)
class AgentSession:
    """One open stream to an agent."""

    node: str
    queue: asyncio.Queue[AgentCommand | Outcome | RecordsReceived | ResidencyWanted | LogRequest] = field(
        default_factory=lambda: asyncio.Queue(QUEUE_MAX)
    )
    sent: set[str] = field(default_factory=set)
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    clock_error_seconds: float | None = None  # its clock minus ours, as of its last report here; None: no report yet
    heard_before_at: datetime | None = None  # the last report before this session; None: never since we started
    clock_error_before_seconds: float | None = None  # as of then

    def acknowledge(self, outcome: Outcome) -> None:
        """Tell the agent that it need not repeat this outcome."""
        if not self.queue.full():
            self.queue.put_nowait(outcome)

    def ask(self, request: LogRequest) -> bool:
        """False: too much waits for this agent already."""
        if self.queue.full():
            return False
        self.queue.put_nowait(request)
        return True

    def received(self, received: RecordsReceived) -> None:
        """Tell the agent which records are stored. What is lost with a full queue, it asks for again."""
        if not self.queue.full():
            self.queue.put_nowait(received)

    def want_residency(self, engine_id: str) -> None:
        """Ask the agent to tell everything of this engine's prefixes. Asked again later, so it may be lost."""
        if not self.queue.full():
            self.queue.put_nowait(ResidencyWanted(engine_id))


class AgentSessions:
    def __init__(self) -> None:
        self._sessions: dict[str, AgentSession] = {}
        self._final: dict[str, dict[str, Outcome]] = {}  # node → command id → how it ended
        self._told: dict[str, dict[tuple[str, datetime | None], None]] = {}  # node → outcomes that were ever told
        self._boot_ids: dict[str, str] = {}
        self.opened_total = 0
        self.sent_totals: Counter[type[AgentCommand]] = Counter()
        self.ended_totals: Counter[CommandStatus] = Counter()

    @property
    def open_count(self) -> int:
        return len(self._sessions)

    def open(self, node: str) -> AgentSession:
        """A new session for the node; an older one is told that it was replaced."""
        old = self._sessions.get(node)
        if old is not None:
            old.replaced.set()
        session = AgentSession(node)
        self._sessions[node] = session
        self.opened_total += 1
        return session

    def greeted(self, node: str, boot_id: str) -> None:
        """The agent said which of its starts this is. A new one may be given the same commands again."""
        if self._boot_ids.get(node) != boot_id:
            self._boot_ids[node] = boot_id
            self._final.pop(node, None)

    def close(self, session: AgentSession) -> bool:
        """True when this was the node's current session, that is when the node is disconnected now."""
        if self._sessions.get(session.node) is not session:
            return False
        del self._sessions[session.node]
        return True

    def get(self, node: str) -> AgentSession | None:
        return self._sessions.get(node)

    def send(self, command: AgentCommand) -> bool:
        """Queue the command unless it was sent in this session or has ended. True when it was queued now."""
        session = self._sessions.get(command.node)
        if session is None or command.command_id in session.sent or session.queue.full():
            return False
        if command.command_id in self._final.get(command.node, {}):
            return False
        session.sent.add(command.command_id)
        session.queue.put_nowait(command)
        self.sent_totals[type(command)] += 1
        return True

    def ended(self, node: str, outcome: Outcome, outcomes_max: int = 1000) -> bool:
        """Remember how a command ended. False when it was told already (agents repeat until acknowledged).

        An agent that restarts before its outcome was acknowledged tells it again. That is the same one, by its moment.
        """
        known = self._final.setdefault(node, {})
        told = self._told.setdefault(node, {})
        key = (outcome.command_id, outcome.at)
        repeated = outcome.command_id in known or (outcome.at is not None and key in told)
        known.setdefault(outcome.command_id, outcome)
        told[key] = None
        if not repeated:
            self.ended_totals[outcome.status] += 1
        while len(known) > outcomes_max:
            del known[next(iter(known))]
        while len(told) > outcomes_max:
            del told[next(iter(told))]
        return not repeated

    def outcome(self, node: str, command_id: str) -> Outcome | None:
        return self._final.get(node, {}).get(command_id)

    def forget(self, node: str) -> None:
        """The node was forgotten by an operator: end its session."""
        session = self._sessions.get(node)
        if session is not None:
            session.replaced.set()
        self._told.pop(node, None)
        self._final.pop(node, None)
