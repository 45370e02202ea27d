"""Keys, certificate requests and certificates: the X.509 that Stoker uses, and no more of it.

Called by `identity.authority` and by the offline commands that make a key themselves. Takes `now`; touches no files.
Never takes a name from a certificate request: only its key, once the request has proven to own it.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from controlplane.errors import InvalidInputError

BACKDATED = timedelta(minutes=5)  # so that a machine whose clock is a little late accepts it at once
REQUEST_BYTES_MAX = 16_384
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate says of its holder, and what its holder may do with it."""

    common_name: str
    uri: str
    usages: tuple[ObjectIdentifier, ...]
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SigningCertificate:
    """A CA: its certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def serial_of(pem: bytes) -> str:
    """A certificate's serial number in hexadecimal: what storage keeps of an operator's. Raises InvalidInputError."""
    try:
        return f"{x509.load_pem_x509_certificate(pem).serial_number:x}"
    except ValueError as error:
        raise InvalidInputError("the certificate cannot be read: send X.509 in PEM") from error


def request_pem(key: ec.EllipticCurvePrivateKey, common_name: str) -> bytes:
    """A certificate request, for commands that make their own key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def requested_key(pem: bytes) -> PublicKey:
    """The public key of a certificate request that is well-formed, signed by that key, and strong enough.

    Everything else in the request is ignored. Raises InvalidInputError.
    """
    if len(pem) > REQUEST_BYTES_MAX:
        raise InvalidInputError(
            f"the certificate request has {len(pem)} bytes: send one of at most {REQUEST_BYTES_MAX}"
        )
    try:
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
        signed = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidInputError("the certificate request cannot be read: send PKCS#10 in PEM") from error
    if not signed:
        raise InvalidInputError("the certificate request is not signed by its own key: make a new one")
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 4096:
        return key
    raise InvalidInputError(
        "the certificate request's key is not accepted: use EC P-256 or P-384, or RSA of 2048 to 4096 bits"
    )


def self_signed_ca(common_name: str, now: datetime, lifetime: timedelta) -> SigningCertificate:
    """A new CA that may sign end certificates, and no further CA."""
    key = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return SigningCertificate(certificate, key)


def sign(
    ca: SigningCertificate, key: PublicKey, subject: Subject, now: datetime, lifetime: timedelta
) -> x509.Certificate:
    """An end certificate by `ca`. It never outlives the CA."""
    issuer = ca.certificate
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name)]))
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(now + lifetime, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(subject.usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternative_names(subject)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(ca.key, hashes.SHA256())
    )


def sign_bytes(ca: SigningCertificate, content: bytes) -> bytes:
    """A signature by the CA's key, in DER. `content` must not begin as a certificate does, with 0x30."""
    return ca.key.sign(content, ec.ECDSA(hashes.SHA256()))


def is_signed_by(ca: SigningCertificate, content: bytes, signature: bytes) -> bool:
    try:
        ca.key.public_key().verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def alternative_names(subject: Subject) -> Sequence[x509.GeneralName]:
    return [*(_host(host) for host in subject.hosts), x509.UniformResourceIdentifier(subject.uri)]


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
