"""Join tokens: the one-time right to enrol a node, in one string that also pins our CA.

`stoker-join-v1.<token id>.<secret>.<CA certificate, DER, base64url>`: the agent verifies the enrolment port against the
certificate in the token, so a first contact needs no trust on first use. Called by `services.create_join_token` and
`services.enrol_node`. Never keeps the secret: storage gets a hash.

A plain SHA-256 is enough for that hash: the secret is 256 random bits, not a person's password, so there is nothing
that guessing could find, and a slow hash would only slow us down.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

PREFIX = "stoker-join-v1"


@dataclass(frozen=True, slots=True)
class MintedJoinToken:
    """`text` is shown once; `token_id` and `secret_hash` are what is kept."""

    token_id: str
    secret_hash: bytes
    text: str

    def __repr__(self) -> str:
        return f"MintedJoinToken({self.token_id})"  # the text is a secret


def mint(ca_der: bytes) -> MintedJoinToken:
    token_id = secrets.token_hex(8)
    secret = secrets.token_urlsafe(32)
    pinned = base64.urlsafe_b64encode(ca_der).rstrip(b"=").decode()
    return MintedJoinToken(token_id, hash_secret(secret), f"{PREFIX}.{token_id}.{secret}.{pinned}")


def hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def secret_matches(secret: str, secret_hash: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(hash_secret(secret), secret_hash)
