"""The certificates that the control plane keeps for itself: its server's and its gateway's.

Called by `identity.authority`. Issues one anew, with a new key, when it is missing, damaged, by another CA, for other
hosts, or has less than a third of its life left. Never waits until one has expired.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from controlplane.identity import ca_files, certificates
from controlplane.identity.certificates import SigningCertificate, Subject
from controlplane.identity.files import DataDirectoryError, make_directory, write_private, write_public


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """A certificate, its key and the CA that signed it, as files."""

    certificate: Path
    key: Path
    ca: Path  # the CA that signed `certificate`: not by itself what the holder should trust
    not_after: datetime
    renewed: bool  # True: issued by this very call, so whoever serves with it must load it again


def ensure_credentials(
    directory: Path, ca: SigningCertificate, subject: Subject, now: datetime, lifetime: timedelta
) -> CredentialFiles:
    """Make sure that `directory` holds a certificate for `subject` that is good for a while."""
    present = _present(directory)
    renewed = present is None or not _good(present, ca, subject, now)
    if present is None or renewed:
        make_directory(directory)
        key = certificates.new_key()
        present = certificates.sign(ca, key.public_key(), subject, now, lifetime)
        # Key first. Who reads between the two writes finds a pair that does not match, and reads again.
        write_private(directory / "key.pem", certificates.key_pem(key))
        write_public(directory / "cert.pem", certificates.certificate_pem(present))
        write_public(directory / "ca.pem", certificates.certificate_pem(ca.certificate))
    return CredentialFiles(
        directory / "cert.pem", directory / "key.pem", directory / "ca.pem", present.not_valid_after_utc, renewed
    )


def _present(directory: Path) -> x509.Certificate | None:
    if not (directory / "cert.pem").exists() or not (directory / "key.pem").exists():
        return None
    try:
        return ca_files.load_pair(directory)[0]
    except DataDirectoryError:
        return None  # we can always make another


def _good(certificate: x509.Certificate, ca: SigningCertificate, subject: Subject, now: datetime) -> bool:
    try:
        certificate.verify_directly_issued_by(ca.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    starts_at, ends_at = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (
        set(names) == set(certificates.alternative_names(subject))
        and starts_at <= now
        and (ends_at - now) * 3 >= ends_at - starts_at
    )
