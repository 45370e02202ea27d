"""Renewal: for nodes that are still ours, under the identity that they enrolled with."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from controlplane.errors import IdentityRefusedError, InvalidInputError
from controlplane.fleet.desired import Desired, EnrolledNode
from controlplane.fleet.observed import NodeLocation
from controlplane.identity.peer import NodePeer, node_uri
from controlplane.services.renew_certificate import RenewCertificate
from tests.support.clock import START
from tests.support.identity import Installation, installation, new_request

SERIAL = "a" * 32
CALLER = NodePeer("gpu-1", SERIAL)
NODE = EnrolledNode("gpu-1", NodeLocation("gcp", "us-east1"), START, SERIAL, ("gpu-1.example",))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    async with installation(tmp_path) as made:
        await made.database.run(lambda uow: uow.nodes.put(NODE))
        yield made


@pytest.fixture
def announced() -> list[Desired]:
    return []


@pytest.fixture
def renew(here: Installation, announced: list[Desired]) -> RenewCertificate:
    return RenewCertificate(here.database, here.authority, here.clock, lambda: 7200.0, announced.append)


def names(pem: bytes) -> x509.SubjectAlternativeName:
    certificate = x509.load_pem_x509_certificate(pem)
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


async def test_a_node_gets_its_next_certificate(
    here: Installation, renew: RenewCertificate, announced: list[Desired]
) -> None:
    here.clock.advance(1000)
    credentials = await renew(CALLER, new_request(), (), "peer")
    assert credentials.not_after == here.clock.now() + timedelta(hours=2)
    assert names(credentials.certificate_pem).get_values_for_type(x509.UniformResourceIdentifier) == [
        node_uri("gpu-1", SERIAL)
    ]
    assert names(credentials.certificate_pem).get_values_for_type(x509.DNSName) == ["gpu-1.example"]
    stored = await here.database.run(lambda uow: uow.nodes.get("gpu-1"))
    assert stored is not None
    assert stored.certificate_not_after == credentials.not_after
    assert announced[-1].nodes["gpu-1"] == stored
    entry = (await here.audit())[-1]
    assert (entry.actor, entry.action, entry.outcome, entry.peer) == (
        "agent:gpu-1",
        "renew_certificate",
        "renewed",
        "peer",
    )


async def test_new_hosts_take_the_place_of_the_old(here: Installation, renew: RenewCertificate) -> None:
    credentials = await renew(CALLER, new_request(), ("10.0.0.8",), "peer")
    assert names(credentials.certificate_pem).get_values_for_type(x509.DNSName) == []
    stored = await here.database.run(lambda uow: uow.nodes.get("gpu-1"))
    assert stored is not None
    assert stored.advertised_hosts == ("10.0.0.8",)


async def test_a_forgotten_node(here: Installation, renew: RenewCertificate, announced: list[Desired]) -> None:
    await here.database.run(lambda uow: uow.nodes.remove("gpu-1"))
    with pytest.raises(IdentityRefusedError, match="not part of the fleet any more: join again"):
        await renew(CALLER, new_request(), (), "peer")
    assert announced == []


async def test_a_node_whose_place_was_taken(renew: RenewCertificate) -> None:
    with pytest.raises(IdentityRefusedError, match="another machine has taken the place of node gpu-1"):
        await renew(NodePeer("gpu-1", "b" * 32), new_request(), (), "peer")


async def test_bad_requests(here: Installation, renew: RenewCertificate) -> None:
    with pytest.raises(InvalidInputError, match="certificate request"):
        await renew(CALLER, b"", (), "peer")
    with pytest.raises(InvalidInputError, match="control plane's name"):
        await renew(CALLER, new_request(), ("stoker-controlplane",), "peer")
    assert await here.audit() == []
