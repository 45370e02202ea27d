"""The agent's only door to time: `Clock`, the system's own, and a stopped one for tests.

Given to whatever needs time by the composition root. Pure modules never see a clock: they take `now` as an argument.
`now()` is for people and for the wire; durations and deadlines come from `monotonic()`, which no clock jump moves.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock: aware, UTC."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - this is the place

    def monotonic(self) -> float:
        return time.monotonic()
