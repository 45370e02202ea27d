"""What goes wrong between a console and the control plane, in one type that screens and commands can act on.

Raised by `console.link.client` only. No gRPC here: whoever shows an error need not know the wire.
"""

from typing import Literal

LinkErrorKind = Literal["unavailable", "refused", "invalid", "not_found", "conflict", "internal"]


class LinkError(Exception):
    """`kind` is for code; `message` is for people and says what to do."""

    def __init__(self, kind: LinkErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: LinkErrorKind = kind
        self.message = message
