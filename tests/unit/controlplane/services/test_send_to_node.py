"""What is asked of a node once: only of one that is there and understands it, and never without an audit entry."""

import pytest

from controlplane.errors import ConflictError, NotFoundError, UnavailableError
from controlplane.fleet.node_commands import COMMANDS_CAPABILITY, ProbeCommand
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.send_to_node import SendToNode, command_id, require_capable, require_session
from tests.support.plane import ANN, Plane

ANSWER = ActionAnswer(("gcp-1 measures", "and tells"))


@pytest.fixture
def send(fleet: Plane) -> SendToNode:
    return SendToNode(fleet.sessions, fleet.database, fleet.events, fleet.clock)


def test_it_wants_a_node_that_is_known_connected_and_new_enough(fleet: Plane) -> None:
    with pytest.raises(NotFoundError, match="stoker nodes lists them"):
        require_session(fleet.sessions, fleet.store.snapshot, "nobody")
    with pytest.raises(ConflictError, match="gcp-1 is not connected"):
        require_session(fleet.sessions, fleet.store.snapshot, "gcp-1")
    fleet.connect("gcp-1", capabilities=("commands.v1",))
    with pytest.raises(ConflictError, match=r"gcp-1 \(0\.1\.0\).*upgrade"):
        require_session(fleet.sessions, fleet.store.snapshot, "gcp-1")
    session = fleet.connect("aws-1", capabilities=(COMMANDS_CAPABILITY,))
    assert require_session(fleet.sessions, fleet.store.snapshot, "aws-1") is session


def test_a_node_that_was_never_heard_of_may_be_new_enough(fleet: Plane) -> None:
    require_capable(fleet.store.snapshot, "gcp-1")


def test_ids_are_about_no_engine_and_never_the_same() -> None:
    ids = {command_id("gcp-1", "probe") for _ in range(100)}
    assert len(ids) == 100
    assert all(each.startswith("/gcp-1/probe-") for each in ids)


async def test_it_is_queued_audited_and_told(fleet: Plane, send: SendToNode) -> None:
    session = fleet.connect("gcp-1", capabilities=(COMMANDS_CAPABILITY,))
    command = ProbeCommand(command_id("gcp-1", "probe"), "gcp-1", force=True)
    await send(command, ANN, "probe_node", "probe, forced", ANSWER)
    assert session.queue.get_nowait() == command
    [entry] = await fleet.audit()
    assert (entry.actor, entry.action, entry.target, entry.detail, entry.peer) == (
        "operator:ann",
        "probe_node",
        "gcp-1",
        f"probe, forced; command {command.command_id}",
        ANN.peer,
    )
    assert entry.plan == ANSWER.plan
    assert fleet.kinds()[-1] == "command_sent"


async def test_a_session_that_has_just_ended(fleet: Plane, send: SendToNode) -> None:
    with pytest.raises(UnavailableError, match="gcp-1 has just ended"):
        await send(ProbeCommand("/gcp-1/probe-1", "gcp-1", force=False), ANN, "probe_node", "probe", ANSWER)
    assert [entry.action for entry in await fleet.audit()] == ["probe_node"], "who tried is kept, too"
    assert "command_sent" not in fleet.kinds()
