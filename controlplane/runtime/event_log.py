"""The most recent fleet events, in memory, with their ids; the whole log is in SQL.

Called by services that have something to tell; read by `services.watch_fleet`. Ids are given here, by the one leader, so that
live watchers do not depend on the database being up. Bounded; never awaits.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import Severity

RECENT_MAX = 500


class EventLog:
    def __init__(self, recent: Iterable[FleetEvent], last_id: int, persist: Callable[[list[FleetEvent]], None]) -> None:
        """`recent`: the newest events already in SQL, oldest first. `persist` takes new ones and must not block."""
        self._recent: deque[FleetEvent] = deque(recent, maxlen=RECENT_MAX)
        self._last_id = last_id
        self._persist = persist
        self._subscribers: list[Callable[[tuple[FleetEvent, ...]], None]] = []
        self.totals: Counter[Severity] = Counter()  # since the start

    def subscribe(self, subscriber: Callable[[tuple[FleetEvent, ...]], None]) -> None:
        self._subscribers.append(subscriber)

    def append(self, events: Iterable[FleetEvent]) -> None:
        """Give the events their ids, keep them, and have them written."""
        numbered = []
        for event in events:
            self._last_id += 1
            numbered.append(replace(event, event_id=self._last_id))
            self.totals[event.severity] += 1
        if not numbered:
            return
        self._recent.extend(numbered)
        self._persist(numbered)
        for subscriber in self._subscribers:
            subscriber(tuple(numbered))

    def recent(self) -> tuple[FleetEvent, ...]:
        """Oldest first."""
        return tuple(self._recent)
