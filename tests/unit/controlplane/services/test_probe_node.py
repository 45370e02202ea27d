"""Asking a node for a probe: sent once, and rehearsed without sending."""

import pytest

from controlplane.errors import ConflictError, NotFoundError
from controlplane.fleet.node_commands import COMMANDS_CAPABILITY, ProbeCommand
from controlplane.services.probe_node import ProbeNode
from controlplane.services.send_to_node import SendToNode
from tests.support.fleet import enrolled
from tests.support.plane import ANN, Plane


@pytest.fixture
def probe(fleet: Plane) -> ProbeNode:
    send = SendToNode(fleet.sessions, fleet.database, fleet.events, fleet.clock)
    return ProbeNode(fleet.sessions, fleet.store, send)


@pytest.mark.parametrize("force", [False, True])
async def test_it_is_sent_and_says_what_it_does_to_engines(fleet: Plane, probe: ProbeNode, force: bool) -> None:
    session = fleet.connect("gcp-1", capabilities=(COMMANDS_CAPABILITY,))
    answer = await probe("gcp-1", ANN, force=force, dry_run=False)
    command = session.queue.get_nowait()
    assert isinstance(command, ProbeCommand)
    assert (command.node, command.force) == ("gcp-1", force)
    assert ("disturbs the figures" if force else "refuses while an engine runs") in answer.steps[1]
    [entry] = await fleet.audit()
    assert (entry.action, "forced" in entry.detail) == ("probe_node", force)


async def test_each_time_it_is_another_probe(fleet: Plane, probe: ProbeNode) -> None:
    session = fleet.connect("gcp-1", capabilities=(COMMANDS_CAPABILITY,))
    for _ in range(2):
        await probe("gcp-1", ANN, force=False, dry_run=False)
    assert session.queue.qsize() == 2


async def test_a_rehearsal_sends_nothing(fleet: Plane, probe: ProbeNode) -> None:
    session = fleet.connect("gcp-1", capabilities=(COMMANDS_CAPABILITY,))
    assert "would measure" in (await probe("gcp-1", ANN, force=False, dry_run=True)).steps[0]
    assert session.queue.empty()
    assert await fleet.audit() == []


async def test_whom_it_cannot_ask(fleet: Plane, probe: ProbeNode) -> None:
    for dry_run in (True, False):
        with pytest.raises(NotFoundError):
            await probe("nobody", ANN, force=False, dry_run=dry_run)
        with pytest.raises(ConflictError, match="not connected"):
            await probe("gcp-1", ANN, force=False, dry_run=dry_run)
    assert await fleet.audit() == []


async def test_a_simulated_node_has_nothing_to_measure(fleet: Plane, probe: ProbeNode) -> None:
    await fleet.enrol(enrolled("sim-1", simulated_by="sim"))
    for dry_run in (True, False):
        with pytest.raises(ConflictError, match=r"sim-1 is simulated.*probe a real node"):
            await probe("sim-1", ANN, force=True, dry_run=dry_run)
    assert await fleet.audit() == []
