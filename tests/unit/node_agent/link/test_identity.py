"""The identity on disk, and what its certificates can do in a real TLS handshake (in memory)."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from node_agent.link.certificates import certificate_request_pem, check_issued, new_key_pem
from node_agent.link.identity import IdentityStore, IssuedCredentials
from node_agent.link.problems import CredentialsUnusableError, NotJoinedError
from node_agent.link.renewal import renewal_at
from tests.fakes.authority import FakeAuthority


def now() -> datetime:
    """Asked anew each time: certificates of tests begin when they are made, and the session may be old by then."""
    return datetime.now(UTC)  # noqa: TID251 - certificates of tests are valid now


def issued_for(key_pem: bytes, authority: FakeAuthority, gateway: FakeAuthority) -> IssuedCredentials:
    request = certificate_request_pem(key_pem, "gcp-1", ["gcp-1.example", "10.0.0.1"])
    certificate = authority.sign_request(request, "gcp-1", ["gcp-1.example", "10.0.0.1"], timedelta(hours=1))
    return IssuedCredentials(certificate, authority.ca_pem, gateway.ca_pem)


@pytest.fixture
def authority() -> FakeAuthority:
    return FakeAuthority()


@pytest.fixture
def gateway() -> FakeAuthority:
    return FakeAuthority("gateway CA")


@pytest.fixture
def store(tmp_path: Path, authority: FakeAuthority, gateway: FakeAuthority) -> IdentityStore:
    store, key_pem = IdentityStore(tmp_path), new_key_pem()
    store.install(key_pem, issued_for(key_pem, authority, gateway), now())
    return store


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, server_hostname: str) -> None:
    """Raises ssl.SSLError where one side does not accept the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=server_hostname),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for side in sides:
            try:
                side.do_handshake()
                side.read(0)
            except ssl.SSLWantReadError:
                continue


def engine_context(store: IdentityStore) -> ssl.SSLContext:
    """As vLLM is told to make it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(store.node_path, store.node_path)
    context.load_verify_locations(store.engine_clients_path)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(store: IdentityStore, pair: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(store.ca_path))
    if pair is not None:
        context.load_cert_chain(pair, pair)
    return context


def test_engines_answer_the_scraper_and_the_gateway_and_nobody_else(
    store: IdentityStore, authority: FakeAuthority, gateway: FakeAuthority, tmp_path: Path
) -> None:
    handshake(engine_context(store), client_context(store, store.scraper_path), "gcp-1.example")
    paths = {}
    for name, signer in (("gateway", gateway), ("operator", authority), ("stranger", FakeAuthority())):
        pair = signer.pair(name)
        paths[name] = tmp_path / f"{name}.pem"
        paths[name].write_bytes(pair.key_pem + pair.certificate_pem)
    handshake(engine_context(store), client_context(store, paths["gateway"]), "gcp-1.example")
    for refused in (paths["operator"], paths["stranger"], None):
        with pytest.raises(ssl.SSLError):
            handshake(engine_context(store), client_context(store, refused), "gcp-1.example")
    with pytest.raises(ssl.SSLError):
        handshake(engine_context(store), client_context(store, store.scraper_path), "other.example")


def test_files_and_directory_are_private_and_nothing_is_left_over(store: IdentityStore, tmp_path: Path) -> None:
    directory = store.node_path.parent
    assert directory.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in directory.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]


def test_a_renewal_leaves_the_scraper_that_running_engines_trust(
    store: IdentityStore, authority: FakeAuthority, gateway: FakeAuthority
) -> None:
    running_engine = engine_context(store)
    key_pem = new_key_pem()
    store.renew(key_pem, issued_for(key_pem, authority, gateway))
    assert store.load().key_pem == key_pem
    handshake(running_engine, client_context(store, store.scraper_path), "gcp-1.example")
    handshake(engine_context(store), client_context(store, store.scraper_path), "gcp-1.example")


def test_a_renewal_keeps_the_files_that_running_engines_watch(
    store: IdentityStore, authority: FakeAuthority, gateway: FakeAuthority
) -> None:
    watched = (store.engine_path, store.engine_clients_path)
    before = [path.stat().st_ino for path in watched]
    for _ in range(2):
        key_pem = new_key_pem()
        store.renew(key_pem, issued_for(key_pem, authority, gateway))
        assert store.engine_path.read_bytes() == store.node_path.read_bytes()
        assert [path.stat().st_ino for path in watched] == before


def test_joining_anew_replaces_the_whole_identity(store: IdentityStore, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in store.node_path.parent.iterdir()}
    key_pem = new_key_pem()
    store.install(key_pem, issued_for(key_pem, FakeAuthority(), FakeAuthority()), now())
    after = {path.name: path.read_bytes() for path in store.node_path.parent.iterdir()}
    assert before.keys() == after.keys()
    assert not [name for name, content in after.items() if before[name] == content]
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]


def test_no_identity_and_a_damaged_one_say_what_to_do(store: IdentityStore, tmp_path: Path) -> None:
    with pytest.raises(NotJoinedError, match="this node has not joined: run stoker-agent join"):
        IdentityStore(tmp_path / "elsewhere").load()
    for damage in (b"", b"garbage", store.node_path.read_bytes()[:200], store.ca_path.read_bytes()):
        store.node_path.write_bytes(damage)
        with pytest.raises(NotJoinedError, match=r"is damaged .* join again"):
            store.load()


def test_the_key_never_shows_in_a_repr(store: IdentityStore) -> None:
    assert "PRIVATE" not in repr(store.load())


def test_an_answer_that_does_not_fit_is_refused(authority: FakeAuthority, gateway: FakeAuthority) -> None:
    key_pem = new_key_pem()
    good = issued_for(key_pem, authority, gateway).certificate_pem
    check_issued(certificate_pem=good, key_pem=key_pem, ca_pem=FakeAuthority().ca_pem + authority.ca_pem, now=now())
    with pytest.raises(CredentialsUnusableError, match="for another key"):
        check_issued(certificate_pem=good, key_pem=new_key_pem(), ca_pem=authority.ca_pem, now=now())
    with pytest.raises(CredentialsUnusableError, match="did not issue"):
        check_issued(certificate_pem=good, key_pem=key_pem, ca_pem=FakeAuthority().ca_pem, now=now())
    with pytest.raises(CredentialsUnusableError, match="set this node's clock"):
        check_issued(certificate_pem=good, key_pem=key_pem, ca_pem=authority.ca_pem, now=now() + timedelta(days=1))
    with pytest.raises(CredentialsUnusableError, match="cannot be read"):
        check_issued(certificate_pem=b"", key_pem=key_pem, ca_pem=authority.ca_pem, now=now())


def test_the_request_names_hosts_as_what_they_are() -> None:
    request = x509.load_pem_x509_csr(certificate_request_pem(new_key_pem(), "gcp-1", ["a.example", "::1"]))
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["::1"]


def test_renewal_is_due_at_two_thirds_of_the_lifetime_give_or_take(store: IdentityStore) -> None:
    identity = store.load()
    lifetime = (identity.not_after - identity.not_before).total_seconds()
    at = [(renewal_at(identity, draw) - identity.not_before).total_seconds() / lifetime for draw in (0.0, 0.5, 0.99)]
    assert at == pytest.approx([0.617, 0.667, 0.716], abs=0.002)
