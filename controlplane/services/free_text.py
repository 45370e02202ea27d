"""Texts that people or nodes may choose freely, within limits, and how actors are named.

Called by services before such a text is stored. Pure.
"""

from collections.abc import Sequence

from controlplane.errors import InvalidInputError

ARGUMENTS_MAX = 128
ARGUMENT_CHARACTERS_MAX = 2000


def checked_text(kind: str, value: str, length_max: int) -> str:
    """The text, if it is short and has nothing in it that a terminal would obey. Raises InvalidInputError."""
    if len(value) > length_max or not value.isprintable():
        raise InvalidInputError(
            f"{kind} {value[:40]!a} is not valid: use at most {length_max} printable characters, on one line"
        )
    return value


def checked_arguments(texts: Sequence[str]) -> None:
    """What is to stand on an engine's command line. Raises InvalidInputError."""
    if len(texts) > ARGUMENTS_MAX or any(len(text) > ARGUMENT_CHARACTERS_MAX for text in texts):
        raise InvalidInputError(
            f"at most {ARGUMENTS_MAX} engine arguments of {ARGUMENT_CHARACTERS_MAX} characters each"
        )
    if any(not text.isprintable() for text in texts):
        raise InvalidInputError("source, devices and engine arguments must not contain control characters")


def actor_of(operator_name: str) -> str:
    """How the audit and the event log name an operator."""
    return f"operator:{operator_name}"
