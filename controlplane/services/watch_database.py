"""Know how the database does, and tell: one fact made of all that tries to write.

Bootstrap spawns `run`; `services.describe_server` and the watch read `health`. The database tells of every attempt
(`Database.listen`), the batched writers of what waits and what was dropped. Nothing waits for the database here, and nothing
has to be started again when it is back.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from controlplane.clock import Clock
from controlplane.errors import DatabaseDamagedError, StokerError
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.storage.batch_writer import BatchWriter
from controlplane.storage.database import Database

LOOK_SECONDS = 1.0
PROBE_SECONDS = 10.0  # a quiet fleet writes nothing, and must still know
STUCK_SECONDS = 75.0  # longer than any statement may take
DAMAGE_TOLD_SECONDS = 60.0  # damage in one table does not keep others from being written
DROPS_TOLD_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    away_since: datetime | None = None  # None: it is written to
    problem: str = ""  # a sentence for people that says what to do; "" while there is none
    samples_waiting_count: int = 0  # rows of history but for events
    samples_dropped_total: int = 0
    events_waiting_count: int = 0
    events_dropped_total: int = 0


class WatchDatabase:
    def __init__(
        self,
        database: Database,
        samples: Sequence[BatchWriter[Any]],
        events: BatchWriter[FleetEvent],
        tell: Callable[[list[FleetEvent]], None],
        clock: Clock,
    ) -> None:
        """`samples`: the writers of everything but events. `tell` takes events for the log, and must not block."""
        self._database = database
        self._samples = tuple(samples)
        self._events = events
        self._tell = tell
        self._clock = clock
        self._away_since: datetime | None = None
        self._away_from = 0.0  # the same, monotonic
        self._problem = ""
        self._answers = True  # the last attempt found no trouble
        self._damaged_at: float | None = None  # monotonic
        self._heard_at = clock.monotonic()
        self._working_on: int | None = None  # Database.progress when it last changed
        self._working_from = clock.monotonic()
        self._dropped_before: tuple[int, int] = (0, 0)  # when the trouble began
        self._drops_told: tuple[int, int] = (0, 0)
        self._drops_told_at = clock.monotonic() - DROPS_TOLD_SECONDS
        database.listen(self._heard)

    def health(self) -> DatabaseHealth:
        return DatabaseHealth(
            self._away_since,
            self._problem,
            sum(writer.waiting_count for writer in self._samples),
            sum(writer.dropped_total for writer in self._samples),
            self._events.waiting_count,
            self._events.dropped_total,
        )

    def seen(self) -> DatabaseHealth:
        """What watchers must be told of at once; how much waits is worth a word only while it cannot be written."""
        health = self.health()
        if health.away_since is None:
            return replace(health, samples_waiting_count=0, events_waiting_count=0)
        return health

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.look():
                await self._probe()

    def look(self) -> bool:
        """Tell what changed since the last look. True: nobody has tried the database for a while."""
        now, progress = self._clock.monotonic(), self._database.progress
        if progress is None or progress != self._working_on:
            self._working_on, self._working_from = progress, now
        elif now - self._working_from >= STUCK_SECONDS:
            self._trouble(
                f"the database has worked on one change for {_duration(now - self._working_from)}: "
                "look at its disk, and at what else uses it"
            )
            return False
        if self._away_since is not None and self._is_back(now):
            self._back(now)
        self._tell_drops(now)
        return progress is None and now - self._heard_at >= PROBE_SECONDS

    def _heard(self, error: StokerError | None) -> None:
        self._heard_at = self._clock.monotonic()
        self._answers = error is None
        if error is not None:
            if isinstance(error, DatabaseDamagedError):
                self._damaged_at = self._heard_at
            self._trouble(str(error))

    def _trouble(self, problem: str) -> None:
        self._problem = problem
        if self._away_since is not None:
            return
        self._away_since, self._away_from = self._clock.now(), self._clock.monotonic()
        self._dropped_before = self._dropped()
        message = f"history and changes cannot be written: {problem}"
        action = "requests are served meanwhile; history waits in memory, and is written by itself when that is mended"
        self._tell([FleetEvent(self._away_since, Severity.ERROR, "database_away", message, action=action)])

    def _is_back(self, now: float) -> bool:
        damaged = self._damaged_at is not None and now - self._damaged_at < DAMAGE_TOLD_SECONDS
        writers = (*self._samples, self._events)
        return self._answers and not damaged and not any(writer.database_away for writer in writers)

    def _back(self, now: float) -> None:
        self._away_since, self._problem = None, ""
        lost = self._dropped_since(self._dropped_before)
        message = f"the database is written to again, after {_duration(now - self._away_from)}: " + (
            f"lost, since memory was full: {lost}" if lost else "nothing was lost"
        )
        self._drops_told = self._dropped()
        self._tell([FleetEvent(self._clock.now(), Severity.INFO, "database_back", message)])

    def _tell_drops(self, now: float) -> None:
        """Also while it is away, and when it is only too slow, or refuses rows."""
        lost = self._dropped_since(self._drops_told)
        if not lost or now - self._drops_told_at < DROPS_TOLD_SECONDS:
            return
        self._drops_told, self._drops_told_at = self._dropped(), now
        if self._away_since is not None:
            action = "mend the database; for longer absences raise history.buffer_max"
        else:
            action = "look at the log for `rows_refused`; when there is none the database is too slow for this fleet"
        message = f"{lost} never reached the history"
        self._tell([FleetEvent(self._clock.now(), Severity.WARNING, "history_dropped", message, action=action)])

    def _dropped(self) -> tuple[int, int]:
        return sum(writer.dropped_total for writer in self._samples), self._events.dropped_total

    def _dropped_since(self, before: tuple[int, int]) -> str:
        """For people; "" for nothing."""
        samples, events = (count - then for count, then in zip(self._dropped(), before, strict=True))
        return " and ".join(
            f"{count:,} {what}{'' if count == 1 else 's'}"
            for count, what in ((samples, "sample"), (events, "event"))
            if count
        )

    async def _probe(self) -> None:
        self._heard_at = self._clock.monotonic()
        with suppress(StokerError):  # it was heard, or `look` finds that it hangs
            await self._database.run(lambda uow: uow.leadership.current())


def _duration(seconds: float) -> str:
    whole = timedelta(seconds=round(seconds))
    if whole < timedelta(minutes=2):
        return f"{whole.seconds} s"
    if whole < timedelta(hours=2):
        return f"{whole.seconds // 60} min"
    return f"{whole // timedelta(hours=1)} h"
