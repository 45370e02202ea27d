"""Single values of strangers, made harmless: bounded text, finite numbers, counts that fit everywhere.

Called by the codecs for what agents say. Unset stays None, and so does nonsense.
"""

import math
from typing import Any

TEXT_MAX = 4000
LIST_MAX = 256
COUNT_MAX = 2**53  # a double still tells it from its neighbours


def text(value: str, length_max: int = TEXT_MAX) -> str:
    """Bounded, and without control characters: it will be shown in terminals and logs."""
    return "".join(c if c.isprintable() else " " for c in value[:length_max])


def number(value: float) -> float | None:
    return value if math.isfinite(value) and value >= 0 else None


def real(message: Any, field: str) -> float | None:
    """A number that is not negative; None when unset."""
    return number(getattr(message, field)) if message.HasField(field) else None


def count(message: Any, field: str, count_max: int = COUNT_MAX) -> int | None:
    """None when unset, and when it is larger than anything real: sums of such would fit neither the wire nor SQL."""
    value: int = getattr(message, field)
    return value if message.HasField(field) and value <= count_max else None
