"""The database as the daemon sees it: functions of a `UnitOfWork`, run one after another on a thread of their own.

Services call `run`; bootstrap opens and closes. The event loop is never blocked: it waits for the thread. One thread
means one writer, which SQLite wants and which makes transactions trivially ordered on PostgreSQL too.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from sqlalchemy import URL

from controlplane.errors import UnavailableError
from controlplane.storage import engines
from controlplane.storage.database_url import kind_of, parse_url, shown
from controlplane.storage.driver_errors import our_errors
from controlplane.storage.unit_of_work import UnitOfWork

T = TypeVar("T")

# Work that waits for the thread. Beyond it callers are told at once instead of piling up behind a slow database.
_PENDING_COUNT_MAX = 256


class Database:
    """A SQLite file or a PostgreSQL database. It does not migrate: see `migrate`."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine = engines.create(url)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stoker-database")
        self._places = BoundedSemaphore(_PENDING_COUNT_MAX)
        self._closed = False

    @classmethod
    def open(cls, url: str) -> "Database":
        """Does not connect, so it cannot fail for an absent server. Raises ConfigurationError for a bad URL."""
        return cls(parse_url(url))

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return kind_of(self._url)

    def __repr__(self) -> str:
        return f"<Database {shown(self._url)}>"

    async def run(self, fn: Callable[[UnitOfWork], T]) -> T:
        """Run `fn` in one transaction: committed when it returns, rolled back when it raises.

        Raises UnavailableError when the database is away (the same call may work later), ConflictError when a
        constraint refuses, and whatever `fn` raises. When the caller is cancelled, `fn` may still run and be committed.
        """
        if self._closed:
            raise UnavailableError("the database has been closed")
        if not self._places.acquire(blocking=False):
            raise UnavailableError("the database is busy: too much work waits for it")
        try:
            future = self._thread.submit(self._transact, fn)
        except RuntimeError:  # closed since
            self._places.release()
            raise UnavailableError("the database has been closed") from None
        future.add_done_callback(self._leave)
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Finish what waits, then disconnect. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        await asyncio.wrap_future(self._thread.submit(self._engine.dispose))
        self._thread.shutdown(wait=False)

    def _leave(self, _future: "Future[T]") -> None:
        self._places.release()

    def _transact(self, fn: Callable[[UnitOfWork], T]) -> T:
        with our_errors(), self._engine.begin() as connection:
            return fn(UnitOfWork(connection))
