"""Read the last lines of an engine's log from its node. Called by `rpc.operator_service`; nothing of it is kept here."""

from controlplane.errors import InvalidInputError, NotFoundError
from controlplane.runtime.agent_sessions import AgentSessions
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.log_requests import LogRequests
from controlplane.services.send_to_node import require_session

LINES_DEFAULT = 200
LINES_MAX = 5_000
ANSWER_SECONDS_MAX = 8.0  # below the time that consoles wait for us


class ReadEngineLog:
    def __init__(self, sessions: AgentSessions, store: FleetStore, requests: LogRequests) -> None:
        self._sessions = sessions
        self._store = store
        self._requests = requests

    async def __call__(self, engine_id: str, lines_max: int) -> tuple[str, ...]:
        """Oldest first; 0 lines: the default. Also of an engine that stopped or failed.

        Raises InvalidInputError, NotFoundError, ConflictError or UnavailableError, each saying what to do.
        """
        if lines_max > LINES_MAX:
            raise InvalidInputError(f"at most {LINES_MAX} lines of a log can be read at once")
        snapshot = self._store.snapshot
        engine = snapshot.engines.get(engine_id)
        placement = snapshot.desired.placements.get(engine_id)
        if engine is None and placement is None:
            raise NotFoundError(f"there is no engine {engine_id!a}: stoker engines lists them")
        node = engine.node if engine is not None else placement.node if placement is not None else ""
        session = require_session(self._sessions, snapshot, node)
        answer = await self._requests.ask(session, engine_id, lines_max or LINES_DEFAULT, ANSWER_SECONDS_MAX)
        if answer.problem:
            raise NotFoundError(f"{node} answered: {answer.problem}")
        return answer.lines
