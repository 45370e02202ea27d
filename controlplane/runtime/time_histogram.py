"""How long something took, counted in buckets. Used by `request_counts`; read for metrics. Pure."""

from bisect import bisect_left
from collections.abc import Sequence


class TimeHistogram:
    """`counts` are per bucket, not cumulative, and one more than `bounds_seconds`: the last is all above the last bound."""

    __slots__ = ("bounds_seconds", "counts", "sum_seconds")

    def __init__(self, bounds_seconds: Sequence[float]) -> None:
        self.bounds_seconds = tuple(bounds_seconds)
        self.counts = [0] * (len(self.bounds_seconds) + 1)
        self.sum_seconds = 0.0

    def add(self, seconds: float) -> None:
        """A value on a bound belongs to the bucket that the bound closes. A clock that went back counts as no time."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(self.bounds_seconds, seconds)] += 1
        self.sum_seconds += seconds

    def copy(self) -> "TimeHistogram":
        made = TimeHistogram(self.bounds_seconds)
        made.counts, made.sum_seconds = list(self.counts), self.sum_seconds
        return made
