"""Whom a certificate may speak for: its own node, or what its simulator simulates, and nothing else."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlplane.errors import IdentityRefusedError, InvalidInputError
from controlplane.fleet.desired import EnrolledNode
from controlplane.fleet.observed import NodeLocation
from controlplane.identity.peer import NodePeer
from controlplane.services.admit_simulated import AdmitSimulated, SpokenFor
from tests.support.plane import Plane, plane

AT = datetime(2026, 1, 1, tzinfo=UTC)
SIM = EnrolledNode("sim", NodeLocation("simulated", "simulated"), AT, "5" * 32, simulator=True)
REAL = EnrolledNode("gcp-1", NodeLocation("gcp", "us-east1"), AT, "1" * 32)
PEER = NodePeer("sim", "5" * 32)
ASKED = SpokenFor("sim-1", "gcp", "us-east1", "", ("commands.v1", "simulated"))


def admit(made: Plane) -> AdmitSimulated:
    return AdmitSimulated(made.desired, lambda: made.store.snapshot.desired, made.clock)


async def test_a_simulated_node_joins_the_fleet_labelled(tmp_path: Path) -> None:
    async with plane(tmp_path) as made:
        await made.enrol(SIM)
        assert await admit(made)(PEER, ASKED) == "sim-1"
        node = made.wanted().nodes["sim-1"]
        assert (node.simulated_by, dict(node.location.labels)) == ("sim", {"simulated": "true"})
        assert node.location.provider == "gcp"
        assert not node.simulator
        assert [entry.action for entry in await made.audit()] == ["admit_simulated"]


async def test_many_at_once_are_written_together(tmp_path: Path) -> None:
    async with plane(tmp_path) as made:
        await made.enrol(SIM)
        service = admit(made)
        names = [f"sim-{number}" for number in range(50)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(service(PEER, replace(ASKED, node_name=name))) for name in names]
        assert [task.result() for task in tasks] == names
        assert made.wanted().nodes.keys() >= set(names)
        assert len(await made.audit()) < 10


async def test_again_it_is_the_same_node_with_its_cordon(tmp_path: Path) -> None:
    async with plane(tmp_path) as made:
        cordoned = EnrolledNode(
            "sim-1",
            NodeLocation("gcp", "us-east1"),
            AT,
            "4" * 32,
            cordoned=True,
            cordon_reason="why",
            simulated_by="sim",
        )
        await made.enrol(SIM, cordoned)
        await admit(made)(PEER, ASKED)
        node = made.wanted().nodes["sim-1"]
        assert (node.cordoned, node.cordon_reason, node.identity_serial) == (True, "why", "5" * 32)


async def test_without_a_name_it_is_the_certificates_own(tmp_path: Path) -> None:
    async with plane(tmp_path) as made:
        await made.enrol(SIM, REAL)
        own = replace(ASKED, node_name="")
        assert await admit(made)(PEER, own) == "sim"
        assert await admit(made)(NodePeer("gcp-1", "1" * 32), replace(own, capabilities=("commands.v1",))) == "gcp-1"


@pytest.mark.parametrize(
    ("peer", "asked", "why"),
    [
        (NodePeer("gcp-1", "1" * 32), replace(ASKED, node_name="gcp-1-1"), "stands for no other node"),
        (NodePeer("gcp-1", "1" * 32), replace(ASKED, node_name="sim-1"), "stands for no other node"),
        (PEER, replace(ASKED, capabilities=("commands.v1",)), "token for simulation"),
        (PEER, replace(ASKED, node_name="", capabilities=()), "token for simulation"),
        (PEER, replace(ASKED, node_name="gcp-1"), "may speak for nodes named sim-"),
        (PEER, replace(ASKED, node_name="simulated"), "may speak for nodes named sim-"),
        (PEER, replace(ASKED, node_name="sim-real"), "does not simulate"),
        (NodePeer("sim", "6" * 32), ASKED, "another machine"),
        (NodePeer("gone", "6" * 32), ASKED, "not part of the fleet"),
    ],
)
async def test_everything_else_is_refused(tmp_path: Path, peer: NodePeer, asked: SpokenFor, why: str) -> None:
    async with plane(tmp_path) as made:
        await made.enrol(SIM, REAL, EnrolledNode("sim-real", NodeLocation("gcp", "us-east1"), AT, "2" * 32))
        before = made.wanted()
        with pytest.raises(IdentityRefusedError, match=why):
            await admit(made)(peer, asked)
        assert made.wanted() == before


@pytest.mark.parametrize("asked", [replace(ASKED, node_name="sim-UPPER"), replace(ASKED, provider="")])
async def test_what_makes_no_node_is_refused(tmp_path: Path, asked: SpokenFor) -> None:
    async with plane(tmp_path) as made:
        await made.enrol(SIM)
        with pytest.raises(InvalidInputError):
            await admit(made)(PEER, asked)
