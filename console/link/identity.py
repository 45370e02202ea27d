"""An operator's certificate: the request for a new one, and what is wrong with the one at hand.

Called by `stoker operator create` and, when the control plane hangs up on us, by `console.link.client`. A private key
never leaves this machine and is never written here.
"""

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def new_key_and_request(name: str) -> tuple[bytes, bytes]:
    """The private key and the certificate request, both PEM. The control plane sets name and role, not the request."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem, request.public_bytes(serialization.Encoding.PEM)


def certificate_problem(certificate_pem: bytes, ca_pem: bytes, now: datetime) -> str | None:
    """A sentence; None when nothing is wrong that can be seen from here."""
    try:
        certificate, authority = x509.load_pem_x509_certificate(certificate_pem), x509.load_pem_x509_certificate(ca_pem)
    except ValueError:
        return "cert.pem or ca.pem is damaged."
    if now >= certificate.not_valid_after_utc:
        return f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d}."
    if now < certificate.not_valid_before_utc:
        return "it is not valid yet: is this machine's clock right?"
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return "it was not issued by the authority in ca.pem."
    return None
