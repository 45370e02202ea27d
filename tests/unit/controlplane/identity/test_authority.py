"""What the authority issues: names, uses and lifetimes; and that it loads only what is whole and private."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import InvalidInputError
from controlplane.fleet.access import Role
from controlplane.identity.authority import Authority
from controlplane.identity.files import DataDirectoryError
from controlplane.identity.own_certificate import CredentialFiles
from tests.support.clock import START
from tests.support.identity import new_request

SERIAL = "0123456789abcdef" * 2
DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "identity", START)


def parse(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def node(authority: Authority, *hosts: str, now: datetime = START, lifetime: timedelta = DAY) -> x509.Certificate:
    issued = authority.node_credentials(
        new_request("evil"), name="gpu-1", identity_serial=SERIAL, hosts=hosts, now=now, lifetime=lifetime
    )
    return parse(issued.certificate_pem)


def operator(authority: Authority) -> x509.Certificate:
    return parse(authority.issue_operator(new_request("evil"), name="ann", role=Role.VIEWER, now=START).certificate_pem)


def names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def uses(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def accepted_as_client(certificate: x509.Certificate, ca_pem: bytes, at: datetime = START) -> bool:
    store = verification.Store([parse(ca_pem)])
    verifier = verification.PolicyBuilder().store(store).time(at).build_client_verifier()
    try:
        verifier.verify(certificate, [])
    except verification.VerificationError:
        return False
    return True


def accepted_as_server(certificate: x509.Certificate, ca_pem: bytes, host: str) -> bool:
    subject: x509.DNSName | x509.IPAddress
    try:
        subject = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    store = verification.Store([parse(ca_pem)])
    verifier = verification.PolicyBuilder().store(store).time(START).build_server_verifier(subject)
    try:
        verifier.verify(certificate, [])
    except verification.VerificationError:
        return False
    return True


def test_a_nodes_certificate(authority: Authority) -> None:
    certificate = node(authority, "gpu-1.example", "10.0.0.7", "fd00::7")
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "gpu-1"
    assert names(certificate).get_values_for_type(x509.DNSName) == ["gpu-1.example"]
    assert [str(a) for a in names(certificate).get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "fd00::7"]
    uris = names(certificate).get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == [f"stoker://node/gpu-1?id={SERIAL}"]
    assert uses(certificate) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert certificate.not_valid_before_utc == START - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == START + DAY


def test_verified_by_another_implementation(authority: Authority) -> None:
    certificate = node(authority, "gpu-1.example", "10.0.0.7")
    assert accepted_as_client(certificate, authority.ca_pem)
    assert accepted_as_server(certificate, authority.ca_pem, "gpu-1.example")
    assert accepted_as_server(certificate, authority.ca_pem, "10.0.0.7")
    assert not accepted_as_server(certificate, authority.ca_pem, "gpu-2.example")
    assert not accepted_as_client(certificate, authority.gateway_ca_pem)
    assert not accepted_as_client(certificate, authority.ca_pem, START + DAY + timedelta(seconds=1))
    assert not accepted_as_client(certificate, authority.ca_pem, START - timedelta(minutes=6))


def test_an_operators_certificate_is_for_clients_only(authority: Authority) -> None:
    certificate = operator(authority)
    uris = names(certificate).get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["stoker://operator/ann?role=viewer"]
    assert uses(certificate) == {ExtendedKeyUsageOID.CLIENT_AUTH}
    assert certificate.not_valid_after_utc == START + timedelta(days=365)
    assert accepted_as_client(certificate, authority.ca_pem)
    assert not accepted_as_client(certificate, authority.gateway_ca_pem)


def test_the_gateways_certificate_is_of_the_gateway_ca_alone(authority: Authority) -> None:
    files = authority.gateway_credentials(START)
    certificate = parse(files.certificate.read_bytes())
    assert uses(certificate) == {ExtendedKeyUsageOID.CLIENT_AUTH}
    assert accepted_as_client(certificate, authority.gateway_ca_pem)
    assert not accepted_as_client(certificate, authority.ca_pem)
    assert files.ca.read_bytes() == authority.gateway_ca_pem


def test_the_servers_certificate_has_our_name_and_the_configured_hosts(authority: Authority) -> None:
    files = authority.server_credentials(["cp.example", "192.0.2.1", "localhost"], START)
    certificate = parse(files.certificate.read_bytes())
    for host in ("stoker-controlplane", "localhost", "127.0.0.1", "::1", "cp.example", "192.0.2.1"):
        assert accepted_as_server(certificate, authority.ca_pem, host)
    assert names(certificate).get_values_for_type(x509.UniformResourceIdentifier) == ["stoker://controlplane"]
    assert uses(certificate) == {ExtendedKeyUsageOID.SERVER_AUTH}
    assert files.not_after == START + timedelta(days=90)
    assert files.key.stat().st_mode & 0o777 == 0o600


def test_a_node_cannot_pass_for_the_control_plane(authority: Authority) -> None:
    with pytest.raises(InvalidInputError, match="control plane's name"):
        node(authority, "stoker-controlplane")
    assert not accepted_as_server(node(authority, "localhost"), authority.ca_pem, "stoker-controlplane")


def test_nothing_outlives_its_ca(authority: Authority) -> None:
    late = authority.not_after - timedelta(hours=1)
    assert node(authority, now=late).not_valid_after_utc == authority.not_after


@given(st.integers(0, 89))
def test_our_own_certificate_is_kept_while_a_third_of_its_life_remains(day: int) -> None:
    # One life is 90 days and the 5 minutes before; a third of it is left until a moment before day 60.
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        authority = Authority.create(Path(directory) / "identity", START)
        first = authority.gateway_credentials(START)
        later = authority.gateway_credentials(START + timedelta(days=day))
    assert first.renewed
    assert later.renewed == (day >= 60)


def issued_again(authority: Authority, first: CredentialFiles, **changed: object) -> bool:
    hosts = changed.get("hosts", ["cp.example"])
    now = changed.get("now", START)
    assert isinstance(hosts, list)
    assert isinstance(now, datetime)
    before = first.certificate.read_bytes()
    again = authority.server_credentials(hosts, now)
    assert again.renewed == (again.certificate.read_bytes() != before)
    return again.renewed


def test_our_own_certificate_is_issued_again_when_it_must_be(authority: Authority, tmp_path: Path) -> None:
    def fresh() -> CredentialFiles:
        for path in (tmp_path / "identity" / "server").glob("*"):
            path.unlink()
        return authority.server_credentials(["cp.example"], START)

    assert not issued_again(authority, fresh())
    assert not issued_again(authority, fresh(), hosts=["CP.example."])
    assert issued_again(authority, fresh(), hosts=["cp.example", "other.example"])
    assert issued_again(authority, fresh(), hosts=[])
    assert issued_again(authority, fresh(), now=START - timedelta(hours=1))
    first = fresh()
    first.key.write_bytes(b"damaged")
    assert issued_again(authority, first)
    first = fresh()
    first.key.chmod(0o644)
    assert issued_again(authority, first)
    other = Authority.create(tmp_path / "other", START)
    first = fresh()
    first.key.write_bytes((other.server_credentials(["cp.example"], START)).key.read_bytes())
    assert issued_again(authority, first)  # a key that belongs to another certificate
    theirs = other.server_credentials(["cp.example"], START)
    first = fresh()
    first.key.write_bytes(theirs.key.read_bytes())
    first.certificate.write_bytes(theirs.certificate.read_bytes())
    assert issued_again(authority, first)  # a good pair, of another CA


def test_creating_keeps_what_is_there(authority: Authority, tmp_path: Path) -> None:
    again = Authority.create(tmp_path / "identity", START + timedelta(days=1))
    assert (again.ca_pem, again.gateway_ca_pem) == (authority.ca_pem, authority.gateway_ca_pem)
    assert Authority.load(tmp_path / "identity").ca_der == authority.ca_der
    assert authority.ca_file.read_bytes() == authority.ca_pem


def test_modes(authority: Authority, tmp_path: Path) -> None:
    authority.server_credentials([], START)
    authority.gateway_credentials(START)
    paths = list((tmp_path / "identity").rglob("*"))
    assert len(paths) == 14
    for path in paths:
        expected = 0o700 if path.is_dir() else 0o600 if path.name == "key.pem" else 0o644
        assert path.stat().st_mode & 0o777 == expected, path


@pytest.mark.usefixtures("authority")
def test_an_authority_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    ca, other = tmp_path / "identity" / "ca", tmp_path / "identity" / "gateway_ca"
    key = (ca / "key.pem").read_bytes()
    (ca / "key.pem").chmod(0o640)
    with pytest.raises(DataDirectoryError, match="chmod 600"):
        Authority.load(tmp_path / "identity")
    (ca / "key.pem").chmod(0o600)
    (ca / "key.pem").write_bytes((other / "key.pem").read_bytes())
    with pytest.raises(DataDirectoryError, match="does not belong"):
        Authority.load(tmp_path / "identity")
    (ca / "key.pem").write_bytes(b"?")
    with pytest.raises(DataDirectoryError, match="damaged"):
        Authority.load(tmp_path / "identity")
    (ca / "key.pem").unlink()
    with pytest.raises(DataDirectoryError, match="is missing"):
        Authority.load(tmp_path / "identity")
    (ca / "key.pem").write_bytes(key)
    (ca / "key.pem").chmod(0o600)
    Authority.load(tmp_path / "identity")


def test_times_are_aware(authority: Authority) -> None:
    assert authority.not_after.tzinfo is UTC
