"""Questions for engines' logs that agents have not answered yet.

Called by `services.read_engine_log` (asks) and `rpc.agent_service` (answers). Each question waits for one answer or its
time; an answer that nobody waits for any more is dropped. Nothing of a log is kept.
"""

import asyncio
import uuid

from controlplane.errors import UnavailableError
from controlplane.fleet.node_commands import LogAnswer, LogRequest
from controlplane.runtime.agent_sessions import AgentSession


class LogRequests:
    def __init__(self) -> None:
        self._open: dict[tuple[str, str], asyncio.Future[LogAnswer]] = {}  # by node and request id

    async def ask(self, session: AgentSession, engine_id: str, lines_max: int, seconds_max: float) -> LogAnswer:
        """Raises UnavailableError when the agent does not answer in time."""
        request = LogRequest(uuid.uuid4().hex, engine_id, lines_max)
        key = (session.node, request.request_id)
        answer: asyncio.Future[LogAnswer] = asyncio.get_running_loop().create_future()
        self._open[key] = answer
        try:
            if not session.ask(request):
                raise UnavailableError(f"too much waits for the agent of {session.node} already: try again")
            async with asyncio.timeout(seconds_max):
                return await answer
        except TimeoutError:
            raise UnavailableError(
                f"the agent of {session.node} did not answer within {seconds_max:.0f} s: try again"
            ) from None
        finally:
            del self._open[key]

    def answered(self, node: str, answer: LogAnswer) -> None:
        """Only the node that was asked can answer."""
        waiting = self._open.get((node, answer.request_id))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
