"""A CA on disk: `key.pem` (private) and `cert.pem` in a directory of its own.

Called by `identity.authority`. Never overwrites a CA that is there: all that it signed would stop working.
"""

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.identity import certificates
from controlplane.identity.certificates import SigningCertificate
from controlplane.identity.files import (
    DataDirectoryError,
    make_directory,
    read_private,
    read_public,
    write_private,
    write_public,
)


def ensure(directory: Path, common_name: str, now: datetime, lifetime: timedelta) -> SigningCertificate:
    """Load the CA in `directory`, or make it when there is none."""
    if (directory / "cert.pem").exists():
        return load(directory)
    make_directory(directory)
    ca = certificates.self_signed_ca(common_name, now, lifetime)
    # The certificate last: whoever finds it finds its key, too.
    write_private(directory / "key.pem", certificates.key_pem(ca.key))
    write_public(directory / "cert.pem", certificates.certificate_pem(ca.certificate))
    return ca


def load(directory: Path) -> SigningCertificate:
    """Raises DataDirectoryError when a file is missing, damaged, open to others, or the two do not belong together."""
    certificate, key = load_pair(directory)
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    if not is_ca:
        raise DataDirectoryError(f"{directory / 'cert.pem'} is not a CA's certificate: restore it from a backup")
    return SigningCertificate(certificate, key)


def load_pair(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate and the key that belongs to it. Raises DataDirectoryError."""
    certificate_pem, key_pem = read_public(directory / "cert.pem"), read_private(directory / "key.pem")
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DataDirectoryError(f"a file in {directory} is damaged: restore it from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise DataDirectoryError(
            f"{directory / 'key.pem'} does not belong to {directory / 'cert.pem'}: restore both from one backup"
        )
    return certificate, key
