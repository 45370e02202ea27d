"""Spans of time as people type them: 10m, 2h, 90d, 1h30m, 45s. Pure; commands and dialogs call it."""

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[smhdw])")
SECONDS_MAX = 100 * 365 * 86400
HINT = "Write a number with a unit: 45s, 10m, 2h, 90d, 1h30m."


def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError with a sentence for people."""
    compact = "".join(text.split()).lower()
    total, at, smallest = 0.0, 0, SECONDS_MAX
    while match := _PART.match(compact, at):
        unit_seconds = _UNITS[match["unit"]]
        if unit_seconds >= smallest:
            raise ValueError(f"{text!r} names its units in the wrong order, or one twice. {HINT}")
        total, at, smallest = total + float(match["number"]) * unit_seconds, match.end(), unit_seconds
    if not compact or at != len(compact):
        raise ValueError(f"{text!r} is no span of time. {HINT}")
    if total > SECONDS_MAX:
        raise ValueError(f"{text!r} is more than 100 years.")
    return total
