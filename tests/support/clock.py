"""A clock that tests set, for everything that takes a `controlplane.clock.Clock`."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class SettableClock:
    """Stands still until it is told to go on. `monotonic` goes on with it and never goes back."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._monotonic = 1_000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("time only goes on; `set` is for a clock that is set back")
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set(self, now: datetime) -> None:
        """The wall clock jumps, as when it is corrected; `monotonic` does not notice."""
        self._now = now
