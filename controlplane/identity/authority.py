"""The local CA: who gets which certificate, for how long.

Two CAs, because there are two questions. The *CA* answers "is this one of us?": it signs the control plane's, the
nodes' and the operators' certificates. The *gateway CA* answers "may this one talk to an engine?": it signs the
gateway's client certificate and nothing else, and engines trust it alone, so that neither an operator nor another node
can call them.

Called by services (enrolment, renewal, operators) and by bootstrap (our own certificates). Takes `now`. Never asks who
may have a certificate: that was decided before.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from controlplane.fleet.access import Role
from controlplane.identity import ca_files, certificates, peer
from controlplane.identity.certificates import CLIENT, SERVER, SigningCertificate, Subject
from controlplane.identity.hosts import CONTROL_PLANE_NAME, checked_node_hosts
from controlplane.identity.own_certificate import CredentialFiles, ensure_credentials
from controlplane.settings.hosts import checked_hosts

CA_LIFETIME = timedelta(days=3650)
OWN_LIFETIME = timedelta(days=90)  # of the server's and the gateway's certificates, which we renew by ourselves
NODE_LIFETIME = timedelta(hours=24)
OPERATOR_LIFETIME = timedelta(days=365)

_ALWAYS = (CONTROL_PLANE_NAME, "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    certificate_pem: bytes
    not_after: datetime
    serial: str  # the certificate's own serial number, as `certificates.serial_of` reads it


@dataclass(frozen=True, slots=True)
class NodeCredentials:
    """All that a node gets."""

    certificate_pem: bytes
    ca_pem: bytes  # what the node trusts as the control plane
    gateway_ca_pem: bytes  # what the node's engines trust as a client
    not_after: datetime


class Authority:
    """The CA and the gateway CA of one installation."""

    def __init__(self, directory: Path, ca: SigningCertificate, gateway_ca: SigningCertificate) -> None:
        self._directory = directory
        self._ca = ca
        self._gateway_ca = gateway_ca

    @classmethod
    def create(cls, directory: Path, now: datetime) -> "Authority":
        """Make both CAs in `directory` (`DataLayout.identity`). One that is there already is kept."""
        return cls(
            directory,
            ca_files.ensure(directory / "ca", "Stoker CA", now, CA_LIFETIME),
            ca_files.ensure(directory / "gateway_ca", "Stoker gateway CA", now, CA_LIFETIME),
        )

    @classmethod
    def load(cls, directory: Path) -> "Authority":
        """Raises DataDirectoryError when a file is missing, damaged or open to others."""
        return cls(directory, ca_files.load(directory / "ca"), ca_files.load(directory / "gateway_ca"))

    @property
    def ca_file(self) -> Path:
        """The CA's certificate as a file, for what reads files (Envoy)."""
        return self._directory / "ca" / "cert.pem"

    @property
    def ca_pem(self) -> bytes:
        """What nodes, operators and the gateway trust."""
        return certificates.certificate_pem(self._ca.certificate)

    @property
    def ca_der(self) -> bytes:
        return self._ca.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def gateway_ca_pem(self) -> bytes:
        """What engines trust as a client."""
        return certificates.certificate_pem(self._gateway_ca.certificate)

    @property
    def not_after(self) -> datetime:
        """When the first of both CAs ends."""
        return min(self._ca.certificate.not_valid_after_utc, self._gateway_ca.certificate.not_valid_after_utc)

    @property
    def serial(self) -> str:
        """Of the CA's certificate, in hexadecimal: names who signed a seal."""
        return f"{self._ca.certificate.serial_number:x}"

    def sign_seal(self, content: bytes) -> bytes:
        """The CA's signature over what is no certificate: ECDSA with SHA-256, in DER."""
        return certificates.sign_bytes(self._ca, content)

    def is_own_seal(self, content: bytes, signature: bytes) -> bool:
        return certificates.is_signed_by(self._ca, content, signature)

    def server_credentials(self, hosts: Iterable[str], now: datetime) -> CredentialFiles:
        """The control plane's own certificate for `hosts`, on disk; issued anew when needed (ask once a day)."""
        names = (*_ALWAYS, *(host for host in checked_hosts(hosts) if host not in _ALWAYS))
        subject = Subject(CONTROL_PLANE_NAME, peer.CONTROL_PLANE_URI, (SERVER,), names)
        return ensure_credentials(self._directory / "server", self._ca, subject, now, OWN_LIFETIME)

    def gateway_credentials(self, now: datetime) -> CredentialFiles:
        """The gateway's client certificate, on disk; issued anew when needed (ask once a day)."""
        subject = Subject("stoker-gateway", peer.GATEWAY_URI, (CLIENT,))
        return ensure_credentials(self._directory / "gateway", self._gateway_ca, subject, now, OWN_LIFETIME)

    def node_credentials(
        self,
        request_pem: bytes,
        *,
        name: str,
        identity_serial: str,
        hosts: Iterable[str],
        now: datetime,
        lifetime: timedelta = NODE_LIFETIME,
    ) -> NodeCredentials:
        """A node's certificate: a client towards us, a server towards the gateway. Raises InvalidInputError."""
        uri = peer.node_uri(name, identity_serial)
        issued = self._issue(
            request_pem, Subject(name, uri, (SERVER, CLIENT), checked_node_hosts(hosts)), now, lifetime
        )
        return NodeCredentials(issued.certificate_pem, self.ca_pem, self.gateway_ca_pem, issued.not_after)

    def issue_operator(
        self, request_pem: bytes, *, name: str, role: Role, now: datetime, lifetime: timedelta = OPERATOR_LIFETIME
    ) -> IssuedCertificate:
        """An operator's client certificate. Raises InvalidInputError."""
        return self._issue(request_pem, Subject(name, peer.operator_uri(name, role), (CLIENT,)), now, lifetime)

    def _issue(self, request_pem: bytes, subject: Subject, now: datetime, lifetime: timedelta) -> IssuedCertificate:
        key = certificates.requested_key(request_pem)
        certificate = certificates.sign(self._ca, key, subject, now, lifetime)
        pem = certificates.certificate_pem(certificate)
        return IssuedCertificate(pem, certificate.not_valid_after_utc, certificates.serial_of(pem))
