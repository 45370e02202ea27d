"""Real TLS handshakes, in memory: who accepts whom."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.clock import SystemClock
from controlplane.fleet.access import Role
from controlplane.identity import certificates
from controlplane.identity.authority import Authority
from controlplane.identity.peer import NodePeer, peer_of

NOW = SystemClock().now()  # TLS looks at the machine's own clock
SERIAL = "f" * 32


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("identity"), NOW)


@pytest.fixture(scope="module")
def pairs(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    directory = tmp_path_factory.mktemp("pairs")
    keys = {name: certificates.new_key() for name in ("node", "operator")}
    requests = {name: certificates.request_pem(key, name) for name, key in keys.items()}
    pems = {
        "node": authority.node_credentials(
            requests["node"], name="gpu-1", identity_serial=SERIAL, hosts=["gpu-1.example", "127.0.0.1"], now=NOW
        ).certificate_pem,
        "operator": authority.issue_operator(
            requests["operator"], name="ann", role=Role.ADMIN, now=NOW
        ).certificate_pem,
    }
    made = {}
    for name, key in keys.items():
        made[name] = Pair(directory / f"{name}.pem", directory / f"{name}-key.pem")
        made[name].certificate.write_bytes(pems[name])
        made[name].key.write_bytes(certificates.key_pem(key))
    server = authority.server_credentials(["cp.example"], NOW)
    gateway = authority.gateway_credentials(NOW)
    return made | {"server": Pair(server.certificate, server.key), "gateway": Pair(gateway.certificate, gateway.key)}


def server_of(pair: Pair, trusted_clients_pem: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if trusted_clients_pem is not None:
        context.load_verify_locations(cadata=trusted_clients_pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def client_of(pair: Pair | None, trusted_server_pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=trusted_server_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


def shake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> dict[str, object]:
    """Both sides' handshakes to the end; the server's view of the client's certificate. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(sides)
    for _ in range(20):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
        if not waiting:
            # With TLS 1.3 a client is done before the server has judged its certificate: both must still get through.
            sides[1].write(b"x")
            assert sides[0].read(1) == b"x"
            return dict(sides[1].getpeercert() or {})
    raise AssertionError("the handshake does not end")


def test_an_agent_and_the_control_plane(authority: Authority, pairs: dict[str, Pair]) -> None:
    server = server_of(pairs["server"], authority.ca_pem)
    seen = shake(server, client_of(pairs["node"], authority.ca_pem), "stoker-controlplane")
    names = seen["subjectAltName"]
    assert isinstance(names, tuple)
    assert peer_of(value for _, value in names) == NodePeer("gpu-1", SERIAL)
    for host in ("localhost", "cp.example", "127.0.0.1"):
        shake(server, client_of(pairs["operator"], authority.ca_pem), host)


def test_a_caller_without_a_certificate_can_only_join(authority: Authority, pairs: dict[str, Pair]) -> None:
    stranger = client_of(None, authority.ca_pem)
    shake(server_of(pairs["server"], None), stranger, "stoker-controlplane")
    with pytest.raises(ssl.SSLError):
        shake(server_of(pairs["server"], authority.ca_pem), stranger, "stoker-controlplane")


def test_the_gateway_is_no_caller_of_the_control_plane(authority: Authority, pairs: dict[str, Pair]) -> None:
    with pytest.raises(ssl.SSLError):
        shake(
            server_of(pairs["server"], authority.ca_pem),
            client_of(pairs["gateway"], authority.ca_pem),
            "stoker-controlplane",
        )


def test_the_gateway_and_an_engine(authority: Authority, pairs: dict[str, Pair]) -> None:
    engine = server_of(pairs["node"], authority.gateway_ca_pem)
    for host in ("127.0.0.1", "gpu-1.example"):
        shake(engine, client_of(pairs["gateway"], authority.ca_pem), host)


@pytest.mark.parametrize("caller", ["operator", "node", None])
def test_nobody_else_reaches_an_engine(authority: Authority, pairs: dict[str, Pair], caller: str | None) -> None:
    engine = server_of(pairs["node"], authority.gateway_ca_pem)
    with pytest.raises(ssl.SSLError):
        shake(engine, client_of(pairs[caller] if caller else None, authority.ca_pem), "127.0.0.1")


@pytest.mark.parametrize("impostor", ["node", "operator", "gateway"])
def test_nobody_else_is_the_control_plane(authority: Authority, pairs: dict[str, Pair], impostor: str) -> None:
    with pytest.raises(ssl.SSLError):
        shake(
            server_of(pairs[impostor], authority.ca_pem),
            client_of(pairs["operator"], authority.ca_pem),
            "stoker-controlplane",
        )


def test_another_installations_certificates_are_strangers(
    authority: Authority, pairs: dict[str, Pair], tmp_path: Path
) -> None:
    other = Authority.create(tmp_path / "other", NOW)
    foreign = other.server_credentials([], NOW)
    with pytest.raises(ssl.SSLError):
        shake(
            server_of(Pair(foreign.certificate, foreign.key), other.ca_pem),
            client_of(pairs["node"], authority.ca_pem),
            "stoker-controlplane",
        )
    with pytest.raises(ssl.SSLError):
        shake(
            server_of(pairs["server"], other.ca_pem),
            client_of(pairs["node"], authority.ca_pem),
            "stoker-controlplane",
        )
