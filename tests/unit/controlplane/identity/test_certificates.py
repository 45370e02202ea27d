"""Which certificate requests are accepted: well-formed, signed by their own key, and strong."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import InvalidInputError
from controlplane.identity import certificates


def request_of(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
)
def test_strong_keys_are_accepted(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    assert certificates.requested_key(request_of(key)) == key.public_key()


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP192R1()),
        rsa.generate_private_key(65537, 1024),  # noqa: S505 - that is the point
        ed25519.Ed25519PrivateKey.generate(),
    ],
)
def test_weak_and_unusual_keys_are_refused(key: CertificateIssuerPrivateKeyTypes) -> None:
    with pytest.raises(InvalidInputError, match="key is not accepted: use EC P-256"):
        certificates.requested_key(request_of(key))


def test_a_request_that_another_key_signed_is_refused() -> None:
    mine, theirs = certificates.new_key(), certificates.new_key()
    der = x509.load_pem_x509_csr(certificates.request_pem(mine, "a")).public_bytes(serialization.Encoding.DER)
    spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    forged = der.replace(mine.public_key().public_bytes(*spki), theirs.public_key().public_bytes(*spki))
    assert forged != der
    pem = x509.load_der_x509_csr(forged).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(InvalidInputError, match="not signed by its own key"):
        certificates.requested_key(pem)


@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(InvalidInputError):
        certificates.requested_key(garbage)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_request_is_refused_or_harmless(at: int, byte: int) -> None:
    pem = bytearray(REQUEST)
    pem[at % len(pem)] = byte
    try:
        key = certificates.requested_key(bytes(pem))
    except InvalidInputError:
        return
    assert key == KEY.public_key()


KEY = certificates.new_key()
REQUEST = certificates.request_pem(KEY, "node")


def test_an_endless_request_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at most 16384"):
        certificates.requested_key(REQUEST + b"\n" * 20_000)


def test_a_serial_is_read_from_a_certificate_only() -> None:
    with pytest.raises(InvalidInputError):
        certificates.serial_of(REQUEST)
