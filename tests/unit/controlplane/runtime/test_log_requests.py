"""A question for a log: answered by the node that was asked, by nobody else, or ended by its time."""

import asyncio

import pytest

from controlplane.errors import UnavailableError
from controlplane.fleet.node_commands import LogAnswer, LogRequest
from controlplane.runtime.agent_sessions import QUEUE_MAX, AgentSession
from controlplane.runtime.log_requests import LogRequests

FOREVER = 60.0


async def asked(session: AgentSession) -> LogRequest:
    request = await session.queue.get()
    assert isinstance(request, LogRequest)
    return request


async def test_the_answer_comes_to_who_asked() -> None:
    requests, session = LogRequests(), AgentSession("gcp-1")

    async def agent() -> None:
        first, second = await asked(session), await asked(session)
        assert (first.engine_id, first.lines_max, second.engine_id) == ("a@gcp-1", 5, "b@gcp-1")
        requests.answered("gcp-1", LogAnswer(second.request_id, ("b",)))
        requests.answered("gcp-1", LogAnswer(first.request_id, ("a",)))

    one, other, _ = await asyncio.gather(
        requests.ask(session, "a@gcp-1", 5, FOREVER), requests.ask(session, "b@gcp-1", 7, FOREVER), agent()
    )
    assert (one.lines, other.lines) == (("a",), ("b",))


async def test_another_node_cannot_answer_and_a_second_answer_is_dropped() -> None:
    requests, session = LogRequests(), AgentSession("gcp-1")

    async def agents() -> str:
        request = await asked(session)
        requests.answered("aws-1", LogAnswer(request.request_id, ("forged",)))
        requests.answered("gcp-1", LogAnswer("unheard of", ("forged",)))
        requests.answered("gcp-1", LogAnswer(request.request_id, ("true",)))
        requests.answered("gcp-1", LogAnswer(request.request_id, ("late",)))
        return request.request_id

    answer, request_id = await asyncio.gather(requests.ask(session, "a@gcp-1", 5, FOREVER), agents())
    assert answer.lines == ("true",)
    requests.answered("gcp-1", LogAnswer(request_id, ("later",)))


async def test_an_agent_that_does_not_answer() -> None:
    with pytest.raises(UnavailableError, match="gcp-1 did not answer"):
        await LogRequests().ask(AgentSession("gcp-1"), "a@gcp-1", 5, 0.0)


async def test_a_session_with_no_room() -> None:
    session = AgentSession("gcp-1")
    for number in range(QUEUE_MAX):
        session.want_residency(str(number))
    with pytest.raises(UnavailableError, match="too much waits"):
        await LogRequests().ask(session, "a@gcp-1", 5, FOREVER)
