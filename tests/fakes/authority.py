"""A private CA for tests: signs servers, nodes and strangers, as the control plane's would."""

import base64
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CONTROL_PLANE_NAME = "stoker-controlplane"
_BACKDATED = timedelta(minutes=5)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True, slots=True)
class Pair:
    certificate_pem: bytes
    key_pem: bytes


class FakeAuthority:
    """One CA. Two of them with the same name do not trust each other."""

    def __init__(self, name: str = "test CA") -> None:
        now = datetime.now(UTC)  # noqa: TID251 - a test's certificates are valid now
        self._key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name))
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def ca_pem(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM)

    @property
    def ca_base64(self) -> str:
        der = self._certificate.public_bytes(Encoding.DER)
        return base64.urlsafe_b64encode(der).decode().rstrip("=")

    def join_token(self) -> str:
        return f"stoker-join-v1.tok1.s3cret.{self.ca_base64}"

    def issue(
        self,
        common_name: str,
        hosts: Sequence[str] = (),
        *,
        key: ec.EllipticCurvePublicKey,
        lifetime: timedelta = timedelta(hours=1),
        backdated: timedelta = _BACKDATED,
    ) -> bytes:
        now = datetime.now(UTC)  # noqa: TID251 - a test's certificates are valid now
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - backdated)
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def pair(self, common_name: str, hosts: Sequence[str] = ()) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Pair(self.issue(common_name, hosts, key=key.public_key()), key_pem)

    def server_pair(self) -> Pair:
        return self.pair(CONTROL_PLANE_NAME, (CONTROL_PLANE_NAME, "localhost", "127.0.0.1"))

    def sign_request(self, request_pem: bytes, name: str, hosts: Sequence[str], lifetime: timedelta) -> bytes:
        request = x509.load_pem_x509_csr(request_pem)
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert request.is_signature_valid
        return self.issue(name, hosts, key=key, lifetime=lifetime, backdated=timedelta())


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
