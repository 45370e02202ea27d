"""Rows on their way into SQL: added without waiting, written in batches, kept while the database is away.

The part that all kinds of rows share (`row_writers`). The caller spawns `run` and calls `flush` when it shuts down.
Whatever happens to the database, `add` neither waits nor fails: beyond `buffer_max` the oldest rows are
dropped and counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import structlog

from controlplane.clock import Clock
from controlplane.errors import ConfigurationError, DatabaseVersionError, StokerError, UnavailableError
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# With these rows wait, whatever they are: away, of another release, or our user lost its rights.
_AWAY = (UnavailableError, DatabaseVersionError, ConfigurationError)


class BatchWriter(Generic[T]):
    """Writes rows with `write`, which must not mind writing a row twice: a commit's answer can be lost."""

    def __init__(
        self,
        what: str,
        write: Callable[[UnitOfWork, Sequence[T]], object],
        database: Database,
        clock: Clock,
        flush_seconds: float,
        batch_max: int,
        buffer_max: int,
        key: Callable[[T], Hashable] | None = None,
    ) -> None:
        """`key`: a row makes those before it with the same key needless, and they go first when the buffer is full."""
        self.what = what  # "samples", for people
        self._key = key
        self._write = write
        self._database = database
        self._clock = clock
        self._flush_seconds = flush_seconds
        self._batch_max = batch_max
        self._buffer_max = max(buffer_max, batch_max)
        self._waiting: deque[T] = deque()
        self._in_flight: deque[T] = deque()
        self._dropped_total = 0
        self._refused_total = 0
        self._away_since: float | None = None  # monotonic
        self._overflowing = False  # told once, until rows are written again
        self._batch_full = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    @property
    def waiting_count(self) -> int:
        """Rows not yet known to be in SQL."""
        return len(self._waiting) + len(self._in_flight)

    @property
    def dropped_total(self) -> int:
        """Rows lost since the start: overflowed while the database was away, or refused by it."""
        return self._dropped_total + self._refused_total

    @property
    def database_away(self) -> bool:
        """The last attempt to write failed because the database was away."""
        return self._away_since is not None

    def add(self, rows: Sequence[T]) -> None:
        """Take rows. Never blocks, never raises; call it on the event loop's thread."""
        self._waiting.extend(rows)
        self._drop_overflow()
        if len(self._waiting) >= self._batch_max and not self.database_away:
            self._batch_full.set()

    async def run(self) -> None:
        """Write a batch when it is full, and at least every `flush_seconds`, until cancelled."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._batch_full.wait(), self._flush_seconds)
            self._batch_full.clear()
            await self.flush()

    async def flush(self) -> bool:
        """Write all that waits now. False: the database is away and rows still wait."""
        async with self._one_at_a_time:
            left = len(self._waiting)
            while left > 0 and self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._batch_max, len(self._waiting)))]
                left -= len(batch)
                if not await self._write_batch(batch):
                    return False
        return True

    async def _write_batch(self, batch: list[T]) -> bool:
        self._in_flight = deque(batch)
        try:
            await self._database.run_background(lambda uow: self._write(uow, batch))
            self._in_flight.clear()
            self._overflowing = False
            self._note_back()
        except _AWAY as error:
            self._note_away(error)
            return False
        except StokerError:
            return await self._write_one_by_one()
        else:
            return True
        finally:
            # Also when cancelled: it is not known then whether they were written, and twice does no harm.
            self._waiting.extendleft(reversed(self._in_flight))
            self._in_flight.clear()
            self._drop_overflow()

    async def _write_one_by_one(self) -> bool:
        """A row that the database refuses must not hold up the others of its batch."""
        refused_before, reason = self._refused_total, ""
        while self._in_flight:
            row = self._in_flight[0]
            try:
                await self._database.run_background(
                    lambda uow, row=row: self._write(uow, [row])  # type: ignore[misc]
                )
            except _AWAY as error:
                self._note_away(error)
                return False
            except StokerError as error:
                self._refused_total += 1
                reason = str(error)
            self._in_flight.popleft()
        self._note_back()
        _log.error("rows_refused", what=self.what, count=self._refused_total - refused_before, reason=reason)
        return True

    def _drop_overflow(self) -> None:
        if self._key is not None and self.waiting_count > self._buffer_max:
            latest = {self._key(row): row for row in self._waiting}
            self._waiting = deque(latest.values())
        if self._waiting and self.waiting_count > self._buffer_max and not self._overflowing:
            self._overflowing = True
            _log.error("buffer_full", what=self.what, waiting_count=self.waiting_count, do="the oldest are dropped")
        while self._waiting and self.waiting_count > self._buffer_max:
            self._waiting.popleft()
            self._dropped_total += 1

    def _note_away(self, error: StokerError) -> None:
        if self._away_since is None:
            self._away_since = self._clock.monotonic()
            _log.warning("database_away", what=self.what, waiting_count=self.waiting_count, reason=str(error))

    def _note_back(self) -> None:
        if self._away_since is not None:
            away_seconds = self._clock.monotonic() - self._away_since
            self._away_since = None
            _log.info("database_back", what=self.what, away_seconds=away_seconds, dropped_total=self.dropped_total)
