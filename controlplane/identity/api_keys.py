"""Tenants' API keys: tokens signed with ES256, which Envoy checks by itself against our JWKS.

Called by `services.create_key` (mint) and by the gateway's configuration (JWKS). Never keeps a token: who loses one
makes another and revokes the first by its id.
"""

from datetime import datetime, timedelta
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.utils import base64url_encode

from controlplane.identity import certificates
from controlplane.identity.files import DataDirectoryError, make_directory, read_private, write_private

ISSUER = "stoker"
ALGORITHM = "ES256"
_FILE = "signing_key.pem"


class ApiKeySigner:
    """The key that signs API keys."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._public = _public_jwk(key.public_key())
        self.kid = self._public["kid"]

    @classmethod
    def ensure(cls, directory: Path) -> "ApiKeySigner":
        """Load the signing key in `directory` (`DataLayout.api_keys`), or make it when there is none."""
        if not (directory / _FILE).exists():
            make_directory(directory)
            write_private(directory / _FILE, certificates.key_pem(certificates.new_key()))
        return cls.load(directory)

    @classmethod
    def load(cls, directory: Path) -> "ApiKeySigner":
        """Raises DataDirectoryError when the key is missing, damaged or readable by others."""
        path = directory / _FILE
        try:
            key = serialization.load_pem_private_key(read_private(path), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise DataDirectoryError(f"{path} is damaged: restore it from a backup") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise DataDirectoryError(f"{path} is not an EC P-256 key: restore it from a backup")
        return cls(key)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public half, as a JSON Web Key Set."""
        return {"keys": [dict(self._public)]}

    def mint(self, tenant: str, lifetime: timedelta | None, now: datetime, key_id: str) -> str:
        """A token for `tenant`. `lifetime` None: it lives until it is revoked."""
        claims: dict[str, str | int] = {"iss": ISSUER, "sub": tenant, "jti": key_id, "iat": int(now.timestamp())}
        if lifetime is not None:
            claims["exp"] = int((now + lifetime).timestamp())
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.kid})


def _public_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    x, y = (base64url_encode(part.to_bytes(32, "big")).decode() for part in (numbers.x, numbers.y))
    # RFC 7638: the id is a hash of the required members in this very spelling, so it follows from the key alone.
    digest = hashes.Hash(hashes.SHA256())
    digest.update(f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.encode())
    kid = base64url_encode(digest.finalize()).decode()
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": ALGORITHM, "use": "sig"}
