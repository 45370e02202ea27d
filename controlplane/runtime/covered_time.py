"""Until when each thing's time is in samples, so that the next sample knows what it stands for. Plain state.

Used by `services.sample_node`. Sums of what `take` gives are durations: nothing is counted twice, and silence is not counted.
"""

from collections.abc import Container
from datetime import datetime, timedelta


class CoveredTime:
    def __init__(self) -> None:
        self._until: dict[str, datetime] = {}

    def begin(self, name: str, now: datetime) -> None:
        """We hear of it from now on."""
        self._until[name] = now

    def resume(self, name: str, now: datetime, gap_seconds: float) -> None:
        """It was away. After more than a short gap its time counts from now: others tell of what was between."""
        until = self._until.get(name)
        if until is None or now - until > timedelta(seconds=gap_seconds):
            self._until[name] = now

    def take(self, name: str, now: datetime, most_seconds: float) -> float | None:
        """What a sample taken now stands for; None when it is the first that is known of this thing."""
        since, self._until[name] = self._until.get(name), now
        return None if since is None else min(max((now - since).total_seconds(), 0.0), most_seconds)

    def forget_all_but(self, names: Container[str]) -> None:
        for name in [name for name in self._until if name not in names]:
            del self._until[name]
