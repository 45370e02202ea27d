"""Joining: what a good token gets, what every bad one is told, and that each is written down once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.errors import ConflictError, IdentityRefusedError, InvalidInputError, StokerError
from controlplane.fleet.desired import Desired
from controlplane.identity.peer import NodePeer, peer_of
from controlplane.services.create_join_token import CreateJoinToken
from controlplane.services.enrol_node import Enrolment, EnrolmentRequest, EnrolNode
from controlplane.storage import migrate
from controlplane.storage.database import Database
from tests.support.identity import ADMIN, Installation, installation, new_request

PEER = "ipv4:192.0.2.7:4242"
CSR = new_request("not-the-name")


class Joining:
    def __init__(self, here: Installation) -> None:
        self.here = here
        self.announced: list[Desired] = []
        self.enrol = EnrolNode(here.database, here.authority, here.clock, lambda: 3600.0, self.announced.append)
        self.mint = CreateJoinToken(here.database, here.authority, here.clock, lambda: 3600.0)

    async def request(self, node_name: str = "gpu-1", *, only: str = "", replacing: bool = False) -> EnrolmentRequest:
        """With a new token, restricted to the node `only` if that is not ""."""
        token = (await self.mint(ADMIN, node_name=only, replace=replacing)).token
        _, token_id, secret, _ = token.split(".")
        return EnrolmentRequest(
            token_id=token_id,
            token_secret=secret,
            node_name=node_name,
            provider="gcp",
            region="us-east1",
            zone="us-east1-b",
            certificate_request_pem=CSR,
            agent_version="0.1.0",
            advertised_hosts=("GPU-1.example", "10.0.0.7"),
            labels={"rack": "r 12"},
        )

    async def refused(self, request: EnrolmentRequest) -> StokerError:
        before = len(self.announced)
        with pytest.raises(StokerError) as error:
            await self.enrol(request, PEER)
        assert len(self.announced) == before
        assert str(error.value).isprintable()
        return error.value


@pytest.fixture
async def joining(tmp_path: Path) -> AsyncIterator[Joining]:
    async with installation(tmp_path) as here:
        yield Joining(here)


async def test_a_node_joins(joining: Joining) -> None:
    enrolment = await joining.enrol(await joining.request(), PEER)
    node, now = enrolment.node, joining.here.clock.now()
    assert (node.name, node.location.provider, node.location.zone) == ("gpu-1", "gcp", "us-east1-b")
    assert node.advertised_hosts == ("gpu-1.example", "10.0.0.7")
    assert dict(node.location.labels) == {"rack": "r 12"}
    assert node.enrolled_at == now
    assert not enrolment.replaced
    certificate = x509.load_pem_x509_certificate(enrolment.credentials.certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert peer_of(uris) == NodePeer("gpu-1", node.identity_serial)
    assert certificate.not_valid_after_utc == enrolment.credentials.not_after == node.certificate_not_after
    assert (node.certificate_not_after - now).total_seconds() == 3600
    assert enrolment.credentials.ca_pem == joining.here.authority.ca_pem
    assert enrolment.credentials.gateway_ca_pem == joining.here.authority.gateway_ca_pem
    assert [dict(desired.nodes) for desired in joining.announced] == [{"gpu-1": node}]
    entry = (await joining.here.audit())[-1]
    assert (entry.actor, entry.action, entry.target) == ("agent:gpu-1", "enrol_node", "gpu-1")
    assert (entry.outcome, entry.peer) == ("joined", PEER)


async def test_a_token_works_once(joining: Joining) -> None:
    request = await joining.request()
    await joining.enrol(request, PEER)
    joining.here.clock.advance(60)
    error = await joining.refused(replace(request, node_name="gpu-2"))
    assert isinstance(error, IdentityRefusedError)
    assert "was used at 2026-03-01 12:00:00 UTC by node gpu-1, and it works once: make another" in str(error)
    assert (await joining.here.audit())[-1].outcome.startswith("refused: the join token was used")


async def test_of_many_at_once_one_gets_the_token(joining: Joining) -> None:
    request = await joining.request()
    attempts = [joining.enrol(replace(request, node_name=f"gpu-{number}"), PEER) for number in range(8)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(outcome, Enrolment) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, IdentityRefusedError) for outcome in outcomes) == 7
    assert len(await joining.here.database.run(lambda uow: uow.nodes.all())) == 1


@pytest.mark.postgres
async def test_of_two_control_planes_one_gets_the_token(joining: Joining, postgres_url: str) -> None:
    migrate.upgrade(postgres_url)
    replicas = [Database.open(postgres_url) for _ in range(2)]
    try:
        there = [Joining(replace(joining.here, database=database)) for database in replicas]
        for _ in range(10):
            request = replace(await there[0].request(), node_name=f"gpu-{secrets.token_hex(4)}")
            other = replace(request, node_name=f"{request.node_name}-b")
            attempts = [there[0].enrol(request, PEER), there[1].enrol(other, PEER)]
            outcomes = await asyncio.gather(*attempts, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {Enrolment, IdentityRefusedError}
    finally:
        for database in replicas:
            await database.close()


async def test_an_expired_token(joining: Joining) -> None:
    request = await joining.request()
    joining.here.clock.advance(3600)
    error = await joining.refused(request)
    assert isinstance(error, IdentityRefusedError)
    assert "expired at 2026-03-01 13:00:00 UTC: make another with `stoker-controlplane token create`" in str(error)


async def test_a_token_of_another_node(joining: Joining) -> None:
    error = await joining.refused(await joining.request("gpu-2", only="gpu-1"))
    assert isinstance(error, IdentityRefusedError)
    assert "is for node gpu-1, not for gpu-2" in str(error)


async def test_unknown_tokens_and_wrong_secrets_are_told_the_same_and_leave_no_trace(joining: Joining) -> None:
    request = await joining.request()
    written = len(await joining.here.audit())
    errors = [
        await joining.refused(replace(request, token_id="0" * 16)),
        await joining.refused(replace(request, token_secret="wrong")),
        await joining.refused(replace(request, token_secret="")),
        await joining.refused(replace(request, token_id="0" * 16, token_secret="")),
    ]
    assert {type(error) for error in errors} == {IdentityRefusedError}
    assert len({str(error) for error in errors}) == 1
    assert len(await joining.here.audit()) == written
    await joining.enrol(request, PEER)  # the token is still good


async def test_a_name_that_is_taken(joining: Joining) -> None:
    first = (await joining.enrol(await joining.request(), PEER)).node
    request = await joining.request()
    error = await joining.refused(request)
    assert isinstance(error, ConflictError)
    assert "token create --name gpu-1 --replace" in str(error)
    assert await joining.here.database.run(lambda uow: uow.nodes.get("gpu-1")) == first
    await joining.enrol(replace(request, node_name="gpu-2"), PEER)  # the refusal did not cost the token


async def test_taking_a_nodes_place(joining: Joining) -> None:
    first = (await joining.enrol(await joining.request(), PEER)).node
    await joining.here.database.run(lambda uow: uow.nodes.set_cordon("gpu-1", True, "bad fan"))
    second = await joining.enrol(await joining.request(only="gpu-1", replacing=True), PEER)
    assert second.replaced
    assert second.node.identity_serial != first.identity_serial
    assert (second.node.cordoned, second.node.cordon_reason) == (True, "bad fan")
    assert (await joining.here.audit())[-1].outcome == "replaced"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"node_name": "gpu 1"}, "node name"),
        ({"node_name": "\x1b[31mgpu"}, "node name '\\x1b[31mgpu'"),
        ({"node_name": "[bold]x"}, "node name"),
        ({"node_name": ""}, "node name"),
        ({"node_name": "a" * 64}, "node name"),
        ({"provider": ""}, "needs a provider and a region"),
        ({"provider": "G€P"}, "provider"),
        ({"region": "us\neast"}, "region"),
        ({"zone": "a/b"}, "zone"),
        ({"agent_version": "1\x00"}, "agent version"),
        ({"advertised_hosts": ("stoker-controlplane",)}, "control plane's name"),
        ({"advertised_hosts": ("10.0.0.1:8000",)}, "without a port"),
        ({"labels": {"a": "\x07"}}, "label"),
        ({"labels": {"\u202e": "b"}}, "label"),
        ({"labels": {str(number): "x" for number in range(33)}}, "33 labels are too many"),
        ({"certificate_request_pem": b"no"}, "certificate request"),
    ],
)
async def test_bad_requests_say_what_is_wrong_and_cost_nothing(
    joining: Joining, wrong: dict[str, object], told: str
) -> None:
    request = await joining.request()
    written = len(await joining.here.audit())
    error = await joining.refused(replace(request, **wrong))  # type: ignore[arg-type]
    assert isinstance(error, InvalidInputError)
    assert told in str(error)
    assert len(await joining.here.audit()) == written
    await joining.enrol(request, PEER)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(name=st.text(max_size=70), provider=st.text(max_size=10), host=st.text(max_size=10), label=st.text(max_size=5))
async def test_whatever_a_node_sends_is_checked(
    joining: Joining, name: str, provider: str, host: str, label: str
) -> None:
    request = replace(
        await joining.request(),
        token_secret="wrong",
        node_name=name,
        provider=provider,
        advertised_hosts=(host,),
        labels={label: label},
    )
    assert isinstance(await joining.refused(request), InvalidInputError | IdentityRefusedError)


async def test_a_secret_is_not_in_a_repr(joining: Joining) -> None:
    request = await joining.request()
    assert request.token_secret not in repr(request)
