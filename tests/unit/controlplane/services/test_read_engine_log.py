"""Reading an engine's log: from the node that it is on, also when it is only placed there."""

import asyncio

import pytest

from controlplane.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from controlplane.fleet.node_commands import COMMANDS_CAPABILITY, LogAnswer, LogRequest
from controlplane.runtime.agent_sessions import AgentSession
from controlplane.runtime.log_requests import LogRequests
from controlplane.services.read_engine_log import LINES_DEFAULT, LINES_MAX, ReadEngineLog
from tests.support.fleet import placed, reported
from tests.support.plane import Plane

ENGINE = "llama@gcp-1"


@pytest.fixture
def requests() -> LogRequests:
    return LogRequests()


@pytest.fixture
def read(fleet: Plane, requests: LogRequests) -> ReadEngineLog:
    return ReadEngineLog(fleet.sessions, fleet.store, requests)


async def answer(session: AgentSession, requests: LogRequests, lines: tuple[str, ...], problem: str = "") -> LogRequest:
    """What the node was asked, once it has answered so."""
    while True:
        message = await session.queue.get()
        if isinstance(message, LogRequest):
            requests.answered(session.node, LogAnswer(message.request_id, lines, problem))
            return message


async def test_the_engines_own_node_is_asked(fleet: Plane, requests: LogRequests, read: ReadEngineLog) -> None:
    session = fleet.connect("gcp-1", reported(ENGINE), capabilities=(COMMANDS_CAPABILITY,))
    lines, request = await asyncio.gather(read(ENGINE, 0), answer(session, requests, ("one", "two")))
    assert lines == ("one", "two")
    assert (request.engine_id, request.lines_max) == (ENGINE, LINES_DEFAULT)


async def test_a_placement_without_an_engine_is_asked_for_too(
    fleet: Plane, requests: LogRequests, read: ReadEngineLog
) -> None:
    await fleet.enrol(placements=(placed(ENGINE),))
    session = fleet.connect("gcp-1", capabilities=(COMMANDS_CAPABILITY,))
    with pytest.raises(NotFoundError, match="gcp-1 answered: there is no log yet"):
        await asyncio.gather(read(ENGINE, 5), answer(session, requests, (), "there is no log yet"))


async def test_what_cannot_be_read(fleet: Plane, read: ReadEngineLog) -> None:
    with pytest.raises(NotFoundError, match="stoker engines lists them"):
        await read("nobody@gcp-1", 5)
    with pytest.raises(InvalidInputError, match="at most 5000 lines"):
        await read(ENGINE, LINES_MAX + 1)
    await fleet.enrol(placements=(placed(ENGINE),))
    with pytest.raises(ConflictError, match="not connected"):
        await read(ENGINE, 5)
    session = fleet.connect("gcp-1", capabilities=(COMMANDS_CAPABILITY,))
    while not session.queue.full():
        session.want_residency("x")
    with pytest.raises(UnavailableError, match="too much waits"):
        await read(ENGINE, 5)
