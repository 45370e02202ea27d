"""The lock that keeps a second control plane away from a database.

Bootstrap takes it before anything is written and releases it last; the leader asks `ensure` once in a while, since on
PostgreSQL the lock goes when its connection does. It is a lock only: the epoch is `UnitOfWork.leadership.acquire`.
"""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, Connection, Engine, text

from controlplane.errors import AlreadyRunningError, StokerError, UnavailableError
from controlplane.storage import engines
from controlplane.storage.database_url import parse_url, shown, sqlite_file
from controlplane.storage.driver_errors import our_errors

# An advisory lock belongs to one database of a server. The number only has to be ours: "StokL".
_LEADER_LOCK = 0x53746F6B4C


class _Lock(Protocol):
    def acquire(self) -> None: ...
    def ensure(self) -> None: ...
    def release(self) -> None: ...


class LeaderLock:
    """An exclusive hold on one database: a file lock beside SQLite's file, an advisory lock in PostgreSQL."""

    def __init__(self, url: str) -> None:
        parsed = parse_url(url)
        file = sqlite_file(parsed)
        self._lock: _Lock = _AdvisoryLock(parsed) if file is None else _FileLock(file)

    async def acquire(self) -> None:
        """Raises AlreadyRunningError at once when another holds it, UnavailableError when the database is away."""
        await asyncio.to_thread(self._lock.acquire)

    async def ensure(self) -> None:
        """Return when the lock is held, taking it again if it was lost. Raises as `acquire` does."""
        await asyncio.to_thread(self._lock.ensure)

    async def release(self) -> None:
        """Let it go; nothing happens when it is not held."""
        await asyncio.to_thread(self._lock.release)


class _FileLock:
    """Held by an open file, so it ends with the process however that ends. The file itself stays and means nothing."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(f"{database.name}.lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        if self._descriptor is not None:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnavailableError(f"cannot lock the database: {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 64).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyRunningError(
                f"another control plane{f' (process {holder})' if holder.isdigit() else ''} uses {self._database}: "
                "stop it first, or give this one a data directory of its own"
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise UnavailableError(f"cannot lock the database: {self._path}: {error.strerror}") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def ensure(self) -> None:
        self.acquire()

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class _AdvisoryLock:
    """Held by a connection of its own, which does nothing else."""

    def __init__(self, url: URL) -> None:
        self._name = shown(url)
        self._engine: Engine = engines.create(url)
        self._connection: Connection | None = None

    def acquire(self) -> None:
        if self._connection is not None:
            return
        with our_errors():
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        holder: str | None = None
        try:
            with our_errors():
                taken = self._connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LEADER_LOCK})
                holder = None if taken else self._holder(self._connection)
        except StokerError:
            self._drop()
            raise
        if holder is not None:
            self._drop()
            raise AlreadyRunningError(
                f"another control plane{holder} leads {self._name}: stop it first, or use another database"
            )

    def ensure(self) -> None:
        if self._connection is not None:
            try:
                with our_errors():
                    self._connection.execute(text("SELECT 1"))
            except StokerError:
                self._drop()
                raise
            return
        self.acquire()

    def release(self) -> None:
        self._drop()

    def _drop(self) -> None:
        """Close the session itself; handed back to a pool it would keep the lock."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        self._engine.dispose()

    def _holder(self, connection: Connection) -> str:
        """Whose lock it is, as far as the server tells."""
        found = connection.execute(
            text(
                "SELECT activity.client_addr, activity.pid FROM pg_locks AS locks JOIN pg_stat_activity AS activity "
                "USING (pid) WHERE locks.locktype = 'advisory' AND locks.granted AND locks.objsubid = 1 "
                "AND locks.classid = :high AND locks.objid = :low AND activity.datname = current_database()"
            ),
            {"high": _LEADER_LOCK >> 32, "low": _LEADER_LOCK & 0xFFFFFFFF},
        ).first()
        if found is None:
            return ""
        return f" (at {found.client_addr or 'this machine'}, database session {found.pid})"
