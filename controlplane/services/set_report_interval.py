"""Have a node report more often, or less, until its session ends. Called by `rpc.operator_service`."""

from controlplane.errors import InvalidInputError
from controlplane.fleet.access import OperatorIdentity
from controlplane.fleet.node_commands import ReportIntervalCommand
from controlplane.runtime.agent_sessions import AgentSessions
from controlplane.runtime.fleet_store import FleetStore
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.send_to_node import SendToNode, command_id, require_session

SECONDS_MIN = 0.2
SECONDS_MAX = 60.0


class SetReportInterval:
    def __init__(self, sessions: AgentSessions, store: FleetStore, send: SendToNode) -> None:
        self._sessions = sessions
        self._store = store
        self._send = send

    async def __call__(self, node: str, seconds: float, caller: OperatorIdentity, *, dry_run: bool) -> ActionAnswer:
        """Raises InvalidInputError, NotFoundError, ConflictError or UnavailableError, each saying what to do."""
        if not SECONDS_MIN <= seconds <= SECONDS_MAX:
            raise InvalidInputError(f"a node reports every {SECONDS_MIN} to {SECONDS_MAX:.0f} seconds")
        require_session(self._sessions, self._store.snapshot, node)
        reports = "would report" if dry_run else "reports"
        steps = [f"{node} {reports} every {seconds:g} s, until its session ends"]
        if seconds >= self._store.thresholds.stale_seconds:
            limit = f"{self._store.thresholds.stale_seconds:g} s"
            steps.append(f"its figures count as stale after {limit}: in between its engines get no new requests")
        answer = ActionAnswer(tuple(steps))
        if not dry_run:
            command = ReportIntervalCommand(command_id(node, "report-interval"), node, seconds)
            await self._send(command, caller, "set_report_interval", f"a report every {seconds:g} s", answer)
        return answer
