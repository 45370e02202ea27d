"""Tell watchers what changed, from a cursor on. The cost of a change does not grow with the watchers.

Called by `rpc.operator_service` (`Watch`) and fed by the fleet store and the event log. Changes of a short while are one
`Step`; steps are kept in a ring, and a watcher whose cursor fell out of it is told the whole fleet again.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

from controlplane.fleet.diff import Changes, diff
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore

STEP_SECONDS = 0.25  # how long changes are gathered before watchers are told
STEPS_MAX = 64
VITALS_SECONDS = 1.0  # a gateway that goes down in a quiet fleet must be told, too


@dataclass(frozen=True, slots=True)
class Step:
    """What to tell a watcher. `changes` None: everything in `snapshot` (its first, or it fell behind)."""

    cursor: int
    snapshot: FleetSnapshot
    changes: Changes | None
    events: tuple[FleetEvent, ...]
    removed_models: frozenset[str] = frozenset()


class WatchFleet:
    def __init__(
        self,
        boot_id: str,
        store: FleetStore,
        events: EventLog,
        vitals: Callable[[], object] = lambda: None,
        step_seconds: float = STEP_SECONDS,
        vitals_seconds: float = VITALS_SECONDS,
    ) -> None:
        """`vitals`: what watchers must be told of the daemon itself, compared every `vitals_seconds`."""
        self.boot_id = boot_id
        self._vitals = vitals
        self._last_vitals = vitals()
        self._vitals_seconds = vitals_seconds
        self._step_seconds = step_seconds
        self._store = store
        self._events = events
        self._cursor = 1
        self._base = store.snapshot
        self._ring: deque[Step] = deque(maxlen=STEPS_MAX)
        self._new_events: list[FleetEvent] = []
        self._dirty = asyncio.Event()
        self._stepped = asyncio.Condition()
        store.subscribe(lambda _before, _after, _notables: self._dirty.set())
        events.subscribe(self._on_events)

    def _on_events(self, events: tuple[FleetEvent, ...]) -> None:
        self._new_events.extend(events)
        self._dirty.set()

    async def run(self) -> None:
        """Make a step whenever something changed, until cancelled."""
        while True:
            if not await self._changed():
                continue
            await asyncio.sleep(self._step_seconds)
            self._dirty.clear()
            async with self._stepped:
                self._step()
                self._stepped.notify_all()

    async def _changed(self) -> bool:
        """Whether there is something to tell, of the fleet or of the daemon itself; waits for it, but not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._vitals_seconds):
                await self._dirty.wait()
        before, self._last_vitals = self._last_vitals, self._vitals()
        return self._dirty.is_set() or self._last_vitals != before

    def _step(self) -> None:
        after = self._store.snapshot
        gone = _models(self._base) - _models(after)
        step = Step(self._cursor + 1, after, diff(self._base, after), tuple(self._new_events), gone)
        self._new_events.clear()
        self._base = after
        self._cursor = step.cursor
        self._ring.append(step)

    def whole(self) -> Step:
        """Everything, as of the last step; what happened since comes with the next."""
        coming = {event.event_id for event in self._new_events}
        told = tuple(event for event in self._events.recent() if event.event_id not in coming)
        return Step(self._cursor, self._base, None, told)

    def latest(self) -> Step:
        """Everything as of this moment, for a caller that asks once and does not go on from a cursor."""
        return Step(self._cursor, self._store.snapshot, None, self._events.recent())

    async def watch(self, boot_id: str, cursor: int) -> AsyncIterator[Step]:
        """Steps from `cursor` on, for ever. A cursor of another daemon, or too old a one, starts with everything."""
        if boot_id != self.boot_id or not self._reaches(cursor):
            step = self.whole()
            yield step
            cursor = step.cursor
        elif cursor == self._cursor:
            # Nothing new, and yet: a watcher of a quiet fleet must see that it is heard.
            yield Step(cursor, self._base, Changes(), ())
        while True:
            async with self._stepped:
                await self._stepped.wait_for(lambda: self._cursor > cursor)  # noqa: B023 - evaluated before cursor moves
            if not self._reaches(cursor):
                step = self.whole()
                yield step
                cursor = step.cursor
                continue
            for step in [step for step in self._ring if step.cursor > cursor]:
                yield step
                cursor = step.cursor

    def _reaches(self, cursor: int) -> bool:
        if cursor == self._cursor:
            return True
        return bool(self._ring) and self._ring[0].cursor - 1 <= cursor <= self._cursor


def _models(snapshot: FleetSnapshot) -> frozenset[str]:
    return snapshot.models() | frozenset(snapshot.engines_by_model)
