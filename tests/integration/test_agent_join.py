"""Joining, renewing, and who is trusted: the agent's identity against a real server over real TLS."""

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from node_agent.link.identity import IdentityStore
from node_agent.link.problems import (
    CertificateNotTrustedError,
    ControlPlaneUnreachableError,
    CredentialsUnusableError,
    RefusedByControlPlaneError,
)
from node_agent.link.renewal import Renewal
from node_agent.session.facts import NodeEvent
from node_agent.tasks import TaskScope
from tests.fakes.authority import FakeAuthority
from tests.fakes.control_plane import FakeControlPlane, eventually
from tests.fakes.linked_agent import CLOCK, enrol, running


async def test_a_node_joins_and_keeps_a_private_identity(plane: FakeControlPlane, store: IdentityStore) -> None:
    joined = await enrol(plane, store)

    assert joined.node_name == "gcp-1"
    assert plane.received.joins[0].token_secret == "s3cret"
    request = x509.load_pem_x509_csr(plane.received.joins[0].certificate_request_pem)
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gcp-1.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    for path in (store.node_path, store.scraper_path, store.ca_path, store.engine_clients_path):
        assert path.stat().st_mode & 0o077 == 0
    assert store.engine_clients_path.read_bytes().startswith(plane.gateway_authority.ca_pem)


async def test_a_refused_token_says_what_the_control_plane_said(plane: FakeControlPlane, store: IdentityStore) -> None:
    plane.refuse_join = "this token was used already: make a new one"
    with pytest.raises(RefusedByControlPlaneError, match="used already: make a new one"):
        await enrol(plane, store)
    assert not store.exists()


async def test_a_token_of_another_ca_is_not_even_shown(plane: FakeControlPlane, store: IdentityStore) -> None:
    with pytest.raises(CertificateNotTrustedError, match="another CA signed"):
        await enrol(plane, store, FakeAuthority().join_token())
    assert plane.received.joins == []


async def test_an_answer_with_another_ca_is_refused(plane: FakeControlPlane, store: IdentityStore) -> None:
    token = plane.authority.join_token()
    plane.authority = FakeAuthority("test CA")
    with pytest.raises(CredentialsUnusableError, match="another CA than the token"):
        await enrol(plane, store, token)
    assert not store.exists()


async def test_joining_where_nothing_listens(plane: FakeControlPlane, store: IdentityStore) -> None:
    await plane.vanish()
    with pytest.raises(ControlPlaneUnreachableError, match="nothing listens at"):
        await enrol(plane, store)


async def test_a_node_of_another_ca_is_told_to_join_again(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    stranger = FakeAuthority().pair("gcp-1")
    store.node_path.write_bytes(stranger.key_pem + stranger.certificate_pem)
    with capture_logs() as logs:
        async with running(plane, store, tmp_path) as agent:
            await eventually(lambda: agent.statuses, "the refusal")
            assert "does not accept this node's certificate" in agent.statuses[0]
            assert "join again" in agent.statuses[0]
    assert [entry["log_level"] for entry in logs if entry["event"] == "link_untrusted"] == ["error"]
    assert plane.received.hellos == []


async def test_a_server_that_is_not_our_control_plane_is_not_spoken_to(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    node_as_server = plane.authority.pair("gcp-2", ("gcp-2.example", "127.0.0.1"))
    for server, message in ((node_as_server, "not a control plane's"), (FakeAuthority().server_pair(), "another CA")):
        other = FakeControlPlane(plane.authority, server=server)
        await other.start()
        async with running(other, store, tmp_path) as agent:
            await eventually(partial(bool, agent.statuses), "the refusal")
            assert message in agent.statuses[0]
        await other.vanish()
        assert other.received.hellos == []


async def test_the_certificate_is_renewed_over_the_existing_identity(
    plane: FakeControlPlane, store: IdentityStore
) -> None:
    plane.certificate_lifetime = timedelta(seconds=2)
    await enrol(plane, store)
    before, engines_trust = store.load(), store.engine_clients_path.read_bytes()
    plane.certificate_lifetime = timedelta(hours=1)
    told: list[NodeEvent] = []
    renewal = Renewal(
        address=plane.address,
        node_name="gcp-1",
        advertised_hosts=("127.0.0.1",),
        store=store,
        clock=CLOCK,
        draw=lambda: 0.5,
        on_event=told.append,
    )
    async with TaskScope("test") as scope:
        scope.spawn(renewal.run(), name="renewal")
        await eventually(lambda: told, "the renewal")
    after = store.load()
    assert [event.kind for event in told] == ["certificate_renewed"]
    assert after.not_after - before.not_after > timedelta(minutes=30)
    assert after.key_pem != before.key_pem
    assert store.engine_clients_path.read_bytes() == engines_trust  # running engines must still answer the agent
