"""Texts that people or nodes may choose freely, within limits, and how actors are named.

Called by services before such a text is stored. Pure.
"""

from controlplane.errors import InvalidInputError


def checked_text(kind: str, value: str, length_max: int) -> str:
    """The text, if it is short and has nothing in it that a terminal would obey. Raises InvalidInputError."""
    if len(value) > length_max or not value.isprintable():
        raise InvalidInputError(
            f"{kind} {value[:40]!a} is not valid: use at most {length_max} printable characters, on one line"
        )
    return value


def actor_of(operator_name: str) -> str:
    """How the audit and the event log name an operator."""
    return f"operator:{operator_name}"
