"""What goes wrong between a console and the control plane, in one type that screens and commands can act on.

Raised by `console.link.client` only. No gRPC here: whoever shows an error need not know the wire.
"""

from typing import Literal

LinkErrorKind = Literal["unavailable", "away", "refused", "invalid", "not_found", "conflict", "internal"]


class LinkError(Exception):
    """`kind` is for code; `message` is for people and says what to do.

    "unavailable": the control plane was not reached. "away": it was, and what is behind it (a node's agent, its database)
    did not answer.
    """

    def __init__(self, kind: LinkErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: LinkErrorKind = kind
        self.message = message
