"""The join token: `stoker-join-v1.<id>.<secret>.<base64url of the CA certificate>`, one time and expiring.

Called by the command line and `enrolment`. The CA inside pins the control plane: the agent trusts this CA and no other
when it shows the secret. Nothing here ever puts the secret into a message or a repr.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node_agent.link.problems import TokenMalformedError

PREFIX = "stoker-join-v1"
_CHARACTERS_MAX = 16_384
_PARTS = 4
_WORD = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class JoinToken:
    token_id: str
    secret: str = field(repr=False)
    ca_pem: bytes = field(repr=False)


def parse_join_token(given: str) -> JoinToken:
    """Raises TokenMalformedError, which says what is wrong with it."""
    token = given.strip()
    if not token:
        raise TokenMalformedError("the join token is empty: make one with `stoker node token` and give all of it")
    if len(token) > _CHARACTERS_MAX:
        raise TokenMalformedError(f"this is no join token: it has {len(token)} characters, more than any token has")
    parts = token.split(".")
    if parts[0] != PREFIX:
        if re.fullmatch(r"stoker-join-v\d+", parts[0]):
            raise TokenMalformedError(f"this agent reads {PREFIX} tokens, but this is {parts[0]}: upgrade stoker-agent")
        raise TokenMalformedError(f"this is no join token: a join token starts with {PREFIX}.")
    if len(parts) != _PARTS:
        raise TokenMalformedError(
            f"the join token has {len(parts)} parts between dots where {_PARTS} are needed: "
            "it was probably not copied whole, or has something after it"
        )
    _, token_id, secret, authority = parts
    for name, part in (("id", token_id), ("secret", secret)):
        if _WORD.fullmatch(part) is None:
            raise TokenMalformedError(f"the {name} in the join token is empty or has foreign characters: copy it again")
    return JoinToken(token_id, secret, _authority(authority))


def _authority(encoded: str) -> bytes:
    if _WORD.fullmatch(encoded) is None:
        raise TokenMalformedError("the CA in the join token is empty or has foreign characters: copy the token again")
    try:
        der = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        certificate = x509.load_der_x509_certificate(der)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as error:
        raise TokenMalformedError("the certificate in the join token is not a CA's: make a new token") from error
    except (binascii.Error, ValueError) as error:
        raise TokenMalformedError(
            "the CA certificate in the join token cannot be read: it was probably cut off; copy the token again"
        ) from error
    if not constraints.ca:
        raise TokenMalformedError("the certificate in the join token is not a CA's: make a new token")
    return certificate.public_bytes(Encoding.PEM)
