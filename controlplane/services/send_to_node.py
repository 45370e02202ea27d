"""What services that ask something of a node's agent share: is it there, does it understand, and the command's audit.

Called by `probe_node`, `set_report_interval`, `read_engine_log` and `change_adapters`. A command sent this way is asked
once: it is no desired state, and its outcome comes as an event.
"""

import uuid

from controlplane.clock import Clock
from controlplane.errors import ConflictError, NotFoundError, UnavailableError
from controlplane.fleet.access import OperatorIdentity
from controlplane.fleet.history import AuditEntry, FleetEvent
from controlplane.fleet.node_commands import COMMANDS_CAPABILITY, ProbeCommand, ReportIntervalCommand
from controlplane.fleet.observed import Severity
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.runtime.agent_sessions import AgentSession, AgentSessions
from controlplane.runtime.event_log import EventLog
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.free_text import actor_of
from controlplane.storage.database import Database


def require_capable(snapshot: FleetSnapshot, node: str) -> None:
    """Raises ConflictError when its agent is known to be too old. One that was never heard of may be new enough."""
    observed = snapshot.nodes.get(node)
    if observed is None or not observed.heard_since_boot:
        return
    facts = observed.facts
    if COMMANDS_CAPABILITY not in facts.capabilities:
        version = facts.agent_version or "of unknown version"
        raise ConflictError(f"the agent of {node} ({version}) does not know this command: upgrade stoker-agent there")


def require_session(sessions: AgentSessions, snapshot: FleetSnapshot, node: str) -> AgentSession:
    """Its open session. Raises NotFoundError, or ConflictError when it is not connected or its agent is too old."""
    if node not in snapshot.desired.nodes:
        raise NotFoundError(f"there is no node {node!a}: stoker nodes lists them")
    session = sessions.get(node)
    if session is None:
        raise ConflictError(f"{node} is not connected: try again when it is")
    require_capable(snapshot, node)
    return session


def command_id(node: str, verb: str) -> str:
    """Begins with a slash: what stands before the first one is an engine, and this is about none."""
    return f"/{node}/{verb}-{uuid.uuid4().hex[:16]}"


class SendToNode:
    def __init__(self, sessions: AgentSessions, database: Database, events: EventLog, clock: Clock) -> None:
        self._sessions = sessions
        self._database = database
        self._events = events
        self._clock = clock

    async def __call__(
        self,
        command: ProbeCommand | ReportIntervalCommand,
        caller: OperatorIdentity,
        action: str,
        detail: str,
        answer: ActionAnswer,
    ) -> None:
        """Writes the audit, sends. Raises UnavailableError."""
        now, actor = self._clock.now(), actor_of(caller.name)
        named = f"{detail}; command {command.command_id}"
        entry = AuditEntry(now, actor, action, command.node, named, "sent", caller.peer, answer.plan)
        await self._database.run(lambda uow: uow.audit.append(entry))
        if not self._sessions.send(command):
            raise UnavailableError(f"the session of {command.node} has just ended, or too much waits there: try again")
        message = f"{detail} sent to {command.node}"
        self._events.append([FleetEvent(now, Severity.INFO, "command_sent", message, node=command.node, actor=actor)])
