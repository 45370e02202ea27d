"""The database as the daemon sees it: functions of a `UnitOfWork`, run on threads of their own.

Services call `run` (what somebody waits for), `run_background` (history, which must not hold up the former) and `read` (what
only reads); bootstrap opens and closes. The event loop is never blocked, and nobody who waits waits for ever. One thread
writes, which SQLite wants and which makes transactions trivially ordered on PostgreSQL too; readers have connections of their
own, so that long questions delay no change.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, text

from controlplane.clock import SystemClock
from controlplane.errors import (
    ConfigurationError,
    DatabaseAwayError,
    DatabaseDamagedError,
    DatabaseSlowError,
    DatabaseVersionError,
    StokerError,
    UnavailableError,
)
from controlplane.storage import engines
from controlplane.storage.database_url import kind_of, parse_url, shown
from controlplane.storage.driver_errors import our_errors
from controlplane.storage.unit_of_work import UnitOfWork
from controlplane.storage.work_queue import QueueClosedError, QueueFullError, WorkQueue

T = TypeVar("T")
Heard = Callable[[StokerError | None], None]

# Work that waits for a thread. Beyond it callers are told at once instead of piling up behind a slow database.
_PENDING_COUNT_MAX = 256
_READERS_COUNT = 3
RUN_SECONDS_MAX = 6.0  # shorter than an operator's call may take (10 s), so that the answer is ours
READ_SECONDS_MAX = 6.0
_CLOSE_SECONDS_MAX = 15.0
_STEPS_BETWEEN_LOOKS = 20_000  # of SQLite's machine: about a millisecond

_monotonic = SystemClock().monotonic


class Database:
    """A SQLite file or a PostgreSQL database. It does not migrate: see `migrate`."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine = engines.create(url)
        self._reader = engines.create_reader(url, _READERS_COUNT)
        self._writing = WorkQueue("stoker-database", 1, _PENDING_COUNT_MAX)
        self._reading = WorkQueue("stoker-reader", _READERS_COUNT, _PENDING_COUNT_MAX)
        self._listener: Heard | None = None
        self._closed = False

    @classmethod
    def open(cls, url: str) -> "Database":
        """Does not connect, so it cannot fail for an absent server. Raises ConfigurationError for a bad URL."""
        return cls(parse_url(url))

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return kind_of(self._url)

    @property
    def progress(self) -> int | None:
        """A number that stays the same while the same change is being worked on; None while nothing is written."""
        return self._writing.progress

    def __repr__(self) -> str:
        return f"<Database {shown(self._url)}>"

    def listen(self, heard: Heard) -> None:
        """Have `heard` called on the event loop with what each attempt to write shows: None, or what the trouble is.

        Of reading only damage is told. What the caller did wrong is no trouble.
        """
        self._listener = heard

    async def run(
        self,
        fn: Callable[[UnitOfWork], T],
        *,
        then: Callable[[T], None] | None = None,
        seconds_max: float | None = RUN_SECONDS_MAX,
    ) -> T:
        """Run `fn` in one transaction: committed when it returns, rolled back when it raises.

        `then` gets the result of what was committed, on the event loop and in the order of the commits, also when the
        caller does not wait any more. Raises UnavailableError when the database is away (the same call may work later) or
        has not answered in time, ConflictError when a constraint refuses, and whatever `fn` raises. When the caller is
        cancelled, `fn` may still run and be committed.
        """
        decided = _Decided()
        future = self._submit(self._writing, lambda: self._transact(fn, decided), background=False)
        return await self._outcome(future, then, seconds_max, decided)

    async def run_background(self, fn: Callable[[UnitOfWork], T]) -> T:
        """As `run`, for history and upkeep: what somebody waits for goes first, and the time is not limited."""
        decided = _Decided()
        future = self._submit(self._writing, lambda: self._transact(fn, decided), background=True)
        return await self._outcome(future, None, None, decided)

    async def read(self, fn: Callable[[UnitOfWork], T], *, seconds_max: float = READ_SECONDS_MAX) -> T:
        """Run `fn`, which only reads, on a connection that cannot write. It sees all that was committed before.

        Raises as `run` does; what takes longer than `seconds_max` is ended.
        """
        future = self._submit(self._reading, lambda: self._look(fn, seconds_max), background=False)
        # A moment more than the database itself is given, so that its own word comes first.
        return await self._outcome(future, None, seconds_max + 1.0, None)

    async def close(self) -> None:
        """Finish what waits, then disconnect. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        last = [
            queue.submit(engine.dispose, background=True)
            for queue, engine in ((self._writing, self._engine), (self._reading, self._reader))
        ]
        self._writing.close()
        self._reading.close()
        with suppress(TimeoutError):  # a database that hangs must not keep us
            async with asyncio.timeout(_CLOSE_SECONDS_MAX):
                await asyncio.gather(*(asyncio.wrap_future(each) for each in last))

    def _submit(self, queue: WorkQueue, work: Callable[[], T], *, background: bool) -> "Future[T]":
        if self._closed:
            raise UnavailableError("the database has been closed")
        try:
            return queue.submit(work, background=background)
        except QueueFullError:
            raise UnavailableError("the database is busy: too much work waits for it; try again later") from None
        except QueueClosedError:
            raise UnavailableError("the database has been closed") from None

    async def _outcome(
        self,
        future: "Future[T]",
        then: Callable[[T], None] | None,
        seconds_max: float | None,
        decided: "_Decided | None",
    ) -> T:
        """`decided`: of a change; None: it only reads."""
        loop = asyncio.get_running_loop()

        def settle() -> None:
            self._hear(future, writes=decided is not None)
            if then is not None and not future.cancelled() and future.exception() is None:
                then(future.result())

        def ended(_: "Future[T]") -> None:
            with suppress(RuntimeError):  # the loop has ended before the database did
                loop.call_soon_threadsafe(settle)

        future.add_done_callback(ended)  # before the waiter's own, so that it goes first
        try:
            async with asyncio.timeout(seconds_max):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            if not future.cancelled() and future.done():
                return future.result()
            undone = future.cancelled() or decided is None or decided.give_up()
            done = "nothing was changed" if undone else "it may still be done, so look first"
            raise UnavailableError(
                f"the database has not answered within {seconds_max:.0f} s: {done}; then try again"
            ) from error

    def _hear(self, future: "Future[Any]", *, writes: bool) -> None:
        if self._listener is None or future.cancelled():
            return
        error = future.exception()
        if isinstance(error, DatabaseAwayError | DatabaseVersionError | ConfigurationError):
            if writes or isinstance(error, DatabaseDamagedError):
                self._listener(error)
        elif writes:
            self._listener(None)

    def _transact(self, fn: Callable[[UnitOfWork], T], decided: "_Decided") -> T:
        try:
            with our_errors(), self._engine.begin() as connection:
                result = fn(UnitOfWork(connection))
                if not decided.commit():
                    raise UnavailableError("given up: who asked for it was told that nothing was changed")
                return result
        except DatabaseAwayError:
            self._connect_anew(self._engine)
            raise

    def _look(self, fn: Callable[[UnitOfWork], T], seconds_max: float) -> T:
        try:
            with our_errors(), self._reader.begin() as connection:
                _limit(connection, seconds_max)
                try:
                    return fn(UnitOfWork(connection))
                finally:
                    _unlimit(connection)
        except DatabaseSlowError as error:
            raise UnavailableError(
                f"the database had no answer within {seconds_max:.0f} s: ask for a shorter time, or for less"
            ) from error
        except DatabaseAwayError:
            self._connect_anew(self._reader)
            raise

    def _connect_anew(self, engine: Engine) -> None:
        """A file that was put in the place of a broken one is seen only by who opens it again."""
        engine.dispose()


class _Decided:
    """Whether a change is committed or given up: whoever comes first, the database's thread or the one who waits."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._word = ""

    def commit(self) -> bool:
        """False: it was given up, and must be rolled back."""
        return self._say("committed")

    def give_up(self) -> bool:
        """False: it is being committed."""
        return self._say("given up")

    def _say(self, word: str) -> bool:
        with self._lock:
            self._word = self._word or word
            return self._word == word


def _limit(connection: Connection, seconds_max: float) -> None:
    """End what `connection` does after this time."""
    raw: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        until = _monotonic() + seconds_max
        raw.set_progress_handler(lambda: int(_monotonic() > until), _STEPS_BETWEEN_LOOKS)
    else:
        milliseconds = max(1, int(seconds_max * 1000))
        connection.execute(text(f"SET LOCAL statement_timeout TO {milliseconds}"))


def _unlimit(connection: Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        raw.set_progress_handler(None, 0)
