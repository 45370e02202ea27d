"""The console's clock: the only module in the console that reads the time.

Called by commands that turn "10 minutes ago" into a moment, and by screens that let ages grow between two updates.
Everything else is told `now`.
"""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - this is the one place


def monotonic_seconds() -> float:
    """Seconds from an arbitrary start, never stepping back; only differences mean something."""
    return time.monotonic()
