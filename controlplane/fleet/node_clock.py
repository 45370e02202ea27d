"""By how much a node's clock was wrong when it wrote what it delivers now. Pure; called by `fleet.record_times`.

What the clock's error is now, a session's reports tell. A clock that jumped while the node was cut off (NTP came back, somebody
set it) had another error before, which we know from the session before. Which of them a record was written with, its place
in the order of records tells: time goes on from record to record, so the right error is the one that makes it do so.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

JUMP_MIN = timedelta(seconds=30)  # smaller differences are drift, and the time on the way
CLOSE = timedelta(minutes=2)  # records of an outage follow one another more closely than this
ERRORS_MAX = 8  # of a clock that jumps again and again


@dataclass(frozen=True, slots=True)
class NodeClock:
    """`errors`: the node's clock minus ours, in their order; those before `index` are over."""

    errors: tuple[timedelta, ...] = (timedelta(),)
    index: int = 0
    at: datetime | None = None  # by our clock: the last record, or the last report before the node was cut off
    opened_at: datetime | None = None  # of the session
    offered_at: datetime | None = None  # the last record came

    def opened(self, error: timedelta | None, heard_at: datetime | None, now: datetime) -> "NodeClock":
        """A session begins; before it the clock's error was this, and the node was last heard then. None: not known."""
        delivering = self.offered_at is not None and (heard_at is None or self.offered_at >= heard_at - CLOSE)
        if delivering and self.index + 1 < len(self.errors):
            return replace(self, opened_at=now)  # cut off while it delivered: it goes on where it was
        if error is None:
            return NodeClock(opened_at=now)
        return NodeClock((error,), 0, heard_at, now)

    def told(self, error: timedelta) -> "NodeClock":
        """A report of this session says that the error is this now."""
        if self.at is None or abs(self.errors[-1] - error) < JUMP_MIN:
            return replace(self, errors=(*self.errors[:-1], error))
        if len(self.errors) == ERRORS_MAX:
            return replace(self, errors=(*self.errors[1:], error), index=max(self.index - 1, 0))
        return replace(self, errors=(*self.errors, error))

    def read(self, by_node: datetime, now: datetime) -> "NodeClock":
        """After a record of that time, in the records' order: `error` is the one with which it was written."""
        index = self._which(by_node, now)
        at = min(minus(by_node, self.errors[index]), now)
        return replace(self, index=index, at=at if self.at is None else max(at, self.at), offered_at=now)

    @property
    def error(self) -> timedelta:
        return self.errors[self.index]

    def _which(self, by_node: datetime, now: datetime) -> int:
        last = len(self.errors) - 1
        if self.index == last or self.at is None:
            return last
        at = self.at
        moments = {index: minus(by_node, self.errors[index]) for index in range(self.index, last + 1)}
        possible = [index for index, moment in moments.items() if moment <= now + JUMP_MIN] or [last]
        nearest = min(possible, key=lambda index: abs(moments[index] - at))
        live = self.opened_at is not None and moments[last] >= self.opened_at and last in possible
        return last if live and abs(moments[nearest] - at) > CLOSE else nearest


def minus(at: datetime, error: timedelta) -> datetime:
    """At the ends of time a time stays as it is: it is implausible with or without the error."""
    try:
        return at - error
    except OverflowError:
        return at
