"""A throw-away CA for tests that need real mutual TLS. The certificates live for an hour around the real clock."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class TestAuthority:
    __test__ = False  # no test case, whatever its name says

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._ca = (
            self._builder("a CA for tests", self._key.public_key())
            .issuer_name(_name("a CA for tests"))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def ca_pem(self) -> bytes:
        return self._ca.public_bytes(_PEM)

    def issue(self, common_name: str, dns_names: list[str]) -> tuple[bytes, bytes]:
        """A private key and its certificate, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _key_pem(key), self._certificate(common_name, key.public_key(), dns_names)

    def sign(self, request_pem: bytes, common_name: str) -> bytes:
        """A certificate for a request, whose own subject does not count."""
        public_key = x509.load_pem_x509_csr(request_pem).public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        return self._certificate(common_name, public_key, [])

    def _certificate(self, common_name: str, key: ec.EllipticCurvePublicKey, dns_names: list[str]) -> bytes:
        builder = self._builder(common_name, key).issuer_name(self._ca.subject)
        if dns_names:
            names = x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM)

    @staticmethod
    def _builder(common_name: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)  # noqa: TID251 - TLS compares with the real clock
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=30))
            .not_valid_after(now + timedelta(minutes=30))
        )
