"""Keys, certificate requests and what makes a certificate usable. No files, no network, no clock: `now` is passed in.

Called by `identity` and `enrolment`. EC P-256 throughout: small, quick, and understood by every TLS stack in use.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node_agent.link.problems import CredentialsUnusableError

CONTROL_PLANE_NAME = "stoker-controlplane"  # only the control plane's certificate carries this DNS name
_CLOCK_SKEW = timedelta(minutes=5)
# The scraping certificate is trusted by this node's own engines alone. Engines read their bundle when they start, so it
# must outlive them all; a new one is made with every join.
_SCRAPER_LIFETIME = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Validity:
    not_before: datetime
    not_after: datetime


def new_key_pem() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_request_pem(key_pem: bytes, node_name: str, hosts: Sequence[str]) -> bytes:
    """PKCS#10 over `key_pem`. The control plane names the node; hosts are where the gateway reaches its engines."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_common_name(node_name))
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(_host_names(hosts)), critical=False)
    return builder.sign(_key(key_pem), hashes.SHA256()).public_bytes(Encoding.PEM)


def scraper_certificate_pem(key_pem: bytes, now: datetime) -> bytes:
    """A self-signed client certificate: the agent's own right to ask its engines for metrics."""
    key = _key(key_pem)
    name = _common_name("stoker-agent-scraper")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _SCRAPER_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def validity(certificate_pem: bytes) -> Validity:
    """Of the first certificate in the file. Raises CredentialsUnusableError."""
    [certificate, *_] = read_chain(certificate_pem, "the node's certificate")
    return Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def check_issued(*, certificate_pem: bytes, key_pem: bytes, ca_pem: bytes, now: datetime) -> None:
    """The certificate is for this key, issued by one of these CAs and valid now. Raises CredentialsUnusableError."""
    [certificate, *_] = read_chain(certificate_pem, "the certificate")
    authorities = read_chain(ca_pem, "the CA")
    ours = _key(key_pem).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != ours:
        raise CredentialsUnusableError("the control plane sent a certificate for another key than the one of this node")
    if not any(_issued_by(certificate, authority) for authority in authorities):
        raise CredentialsUnusableError("the control plane sent a certificate that the CA sent with it did not issue")
    if not certificate.not_valid_before_utc - _CLOCK_SKEW <= now < certificate.not_valid_after_utc:
        since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        raise CredentialsUnusableError(
            f"the control plane sent a certificate that is valid from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} "
            f"UTC, but it is {now:%Y-%m-%d %H:%M} here: set this node's clock"
        )


def holds_authority(ca_pem: bytes, pinned_pem: bytes) -> bool:
    """Whether the pinned CA is among those of the bundle."""
    wanted = {certificate.fingerprint(hashes.SHA256()) for certificate in read_chain(pinned_pem, "the pinned CA")}
    return wanted <= {certificate.fingerprint(hashes.SHA256()) for certificate in read_chain(ca_pem, "the CA")}


def read_chain(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CredentialsUnusableError(f"{what} cannot be read as PEM certificates") from error


def split_key(combined_pem: bytes) -> bytes:
    """The private key of a file that holds key and certificate. Raises CredentialsUnusableError."""
    try:
        return _key(combined_pem).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    except (ValueError, TypeError) as error:
        raise CredentialsUnusableError("there is no private key that can be read") from error


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CredentialsUnusableError("the private key is not an EC key")
    return key


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _host_names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names
