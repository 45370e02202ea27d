"""Have a node measure what its devices reach. Called by `rpc.operator_service`.

Asked once, of a connected node. How it ended comes as an event, the figures with the node's next report.
"""

from controlplane.errors import ConflictError
from controlplane.fleet.access import OperatorIdentity
from controlplane.fleet.node_commands import ProbeCommand
from controlplane.runtime.agent_sessions import AgentSessions
from controlplane.runtime.fleet_store import FleetStore
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.send_to_node import SendToNode, command_id, require_session


class ProbeNode:
    def __init__(self, sessions: AgentSessions, store: FleetStore, send: SendToNode) -> None:
        self._sessions = sessions
        self._store = store
        self._send = send

    async def __call__(self, node: str, caller: OperatorIdentity, *, force: bool, dry_run: bool) -> ActionAnswer:
        """Raises NotFoundError, ConflictError or UnavailableError, each saying what to do."""
        snapshot = self._store.snapshot
        enrolled = snapshot.desired.nodes.get(node)
        if enrolled is not None and enrolled.simulated_by:
            raise ConflictError(
                f"{node} is simulated: it has no devices that could be measured, and what they reach is its engine "
                "model's table; probe a real node"
            )
        require_session(self._sessions, snapshot, node)
        would = "would measure" if dry_run else "measures"
        steps = [f"{node} {would} what each of its devices reaches, at most 10 s a device"]
        steps.append(
            "also while an engine runs, which is slower meanwhile and disturbs the figures"
            if force
            else "it refuses while an engine runs there; drain it first, or force the probe"
        )
        answer = ActionAnswer(tuple(steps))
        if not dry_run:
            command = ProbeCommand(command_id(node, "probe"), node, force)
            await self._send(command, caller, "probe_node", "probe" + (", forced" if force else ""), answer)
        return answer
