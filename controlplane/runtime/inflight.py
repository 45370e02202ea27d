"""Requests that were sent to engines and have not ended: what the last report cannot know yet.

Called by `services.decide_request` (sent) and `services.finish_request` (ended, from the gateway's access log). Bounded: a
request whose end never comes (the gateway died) is forgotten after a while. Never awaits.
"""

from collections import OrderedDict, defaultdict
from dataclasses import dataclass

FORGET_SECONDS = 3600.0
ENTRIES_MAX = 100_000
WEIGHT_NEW = 0.2  # of the newest request in the running mean of durations


@dataclass(slots=True)
class _Sent:
    engine_id: str
    sent_monotonic: float
    reported: bool = False  # the engine has reported since, so its own figures contain this request


class Inflight:
    def __init__(self) -> None:
        self._requests: OrderedDict[str, _Sent] = OrderedDict()
        self._count: defaultdict[str, int] = defaultdict(int)
        self._unreported: defaultdict[str, set[str]] = defaultdict(set)
        self._mean_seconds: dict[str, float] = {}
        self.forgotten_total = 0

    def sent(self, request_id: str, engine_id: str, now_monotonic: float) -> None:
        """The decision sends this request to that engine."""
        self._forget_old(now_monotonic)
        self._drop(request_id)
        self._requests[request_id] = _Sent(engine_id, now_monotonic)
        self._count[engine_id] += 1
        self._unreported[engine_id].add(request_id)

    def ended(self, request_id: str, engine_id: str | None, seconds: float | None) -> None:
        """The gateway says that it ended, where it really ran, and how long it took there."""
        self._drop(request_id)
        if engine_id is not None and seconds is not None:
            mean = self._mean_seconds.get(engine_id)
            self._mean_seconds[engine_id] = seconds if mean is None else mean + WEIGHT_NEW * (seconds - mean)

    def reported(self, engine_id: str) -> None:
        """The engine reported: what was sent before is in its own figures now."""
        for request_id in self._unreported.pop(engine_id, ()):
            self._requests[request_id].reported = True

    def count(self, engine_id: str) -> int:
        return self._count.get(engine_id, 0)

    def by_engine(self) -> dict[str, int]:
        """A copy, for a reader in another thread."""
        return dict(self._count)

    def total(self) -> int:
        return len(self._requests)

    def unreported(self, engine_id: str) -> int:
        return len(self._unreported.get(engine_id, ()))

    def request_seconds_mean(self, engine_id: str) -> float | None:
        return self._mean_seconds.get(engine_id)

    def forget_engine(self, engine_id: str) -> None:
        """The engine is gone for good."""
        self._mean_seconds.pop(engine_id, None)

    def _forget_old(self, now_monotonic: float) -> None:
        while self._requests:
            request_id, oldest = next(iter(self._requests.items()))
            if now_monotonic - oldest.sent_monotonic < FORGET_SECONDS and len(self._requests) < ENTRIES_MAX:
                return
            self._drop(request_id)
            self.forgotten_total += 1

    def _drop(self, request_id: str) -> None:
        sent = self._requests.pop(request_id, None)
        if sent is None:
            return
        self._count[sent.engine_id] -= 1
        if self._count[sent.engine_id] <= 0:
            del self._count[sent.engine_id]
        if not sent.reported:
            waiting = self._unreported[sent.engine_id]
            waiting.discard(request_id)
            if not waiting:
                del self._unreported[sent.engine_id]
