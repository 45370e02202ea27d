"""Drivers' errors, translated into ours: the one table for both databases.

Called by everything in `storage` that talks to a database. The message says in plain words what is wrong and what to do, and
keeps the driver's own sentence, never the statement's parameters, which may hold what operators typed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from controlplane.errors import (
    ConfigurationError,
    ConflictError,
    DatabaseAwayError,
    DatabaseDamagedError,
    DatabaseSlowError,
    DatabaseVersionError,
    InvalidInputError,
    StokerError,
    UnavailableError,
)

_SCHEMA_MISSING = ("no such table", "no such column", "has no column named")
_SCHEMA_STATES = {"42P01", "42703"}  # PostgreSQL: undefined table, undefined column
_NOT_ALLOWED_STATE = "42501"
MIGRATE_HINT = "run `stoker-controlplane migrate`"
RESTORE_HINT = (
    "stop the control plane, restore a backup with `stoker-controlplane restore FILE`, and start it again; "
    "requests are served meanwhile"
)
_AWAY = "the database is away"
_DISK_FULL = "the database's disk is full: free space on it; what waits in memory is written then"
_DISK_FAILS = "the database's disk fails: look at the disk and its mount, then at the machine's log"
_READ_ONLY = "the database can only be read: let the control plane's user write to it"
_LOCKED = "another program keeps the database locked: end its transaction (a backup tool, an open SQL shell)"
_DAMAGED = f"the database is damaged: {RESTORE_HINT}"
_SLOW = "the database took longer over this than it may"
_CONNECTIONS = "PostgreSQL takes no more connections: end some, or raise its max_connections"

_SQLITE_BUSY, _SQLITE_LOCKED, _SQLITE_INTERRUPT = 5, 6, 9
_SQLITE_CORRUPT, _SQLITE_NOTADB = 11, 26
# SQLite's primary result codes (sqlite.org/rescode.html).
_SQLITE: dict[int, str] = {
    _SQLITE_BUSY: _LOCKED,
    _SQLITE_LOCKED: _LOCKED,
    8: _READ_ONLY,
    10: _DISK_FAILS,
    13: _DISK_FULL,
    14: "the database's file cannot be opened: look at its directory, its owner and its mode",
}
# PostgreSQL's SQLSTATEs (its manual, appendix A).
_POSTGRESQL: dict[str, str] = {
    "25006": "PostgreSQL only lets us read: is this a standby? name the primary in the database URL",
    "40001": "two changes were in each other's way: try again",
    "40P01": "two changes were in each other's way: try again",
    "53100": _DISK_FULL,
    "53200": "PostgreSQL has no memory left: look at its machine",
    "53300": _CONNECTIONS,
    "55P03": _LOCKED,
    "57P01": f"{_AWAY}: PostgreSQL is stopping, or somebody ended our session",
    "57P02": f"{_AWAY}: PostgreSQL crashed and comes back by itself",
    "57P03": f"{_AWAY}: PostgreSQL is starting or stopping",
    "58030": _DISK_FAILS,
}
_DAMAGED_STATES = {"XX001", "XX002"}
_CANCELLED_STATE = "57014"
_TOO_MANY = ("too many clients", "too many connections", "remaining connection slots")  # while connecting: no state


def _sentence(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error.orig).__name__


def _lacks_schema(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state in _SCHEMA_STATES or any(words in str(error.orig) for words in _SCHEMA_MISSING)


def translated(error: SQLAlchemyError | OverflowError | UnicodeError) -> StokerError | None:
    """Our error for this one; None when it is a fault of our own code, to be raised as it is."""
    if isinstance(error, PoolTimeoutError):
        return DatabaseSlowError("the database is busy")
    if isinstance(error, OverflowError | UnicodeError | DataError):
        return InvalidInputError("the database cannot hold a value: out of range or not valid text")
    if not isinstance(error, DBAPIError):
        if isinstance(error, StatementError) and isinstance(error.orig, ValueError | OverflowError):
            return InvalidInputError(f"the database cannot hold a value: {error.orig}")
        return None
    if _lacks_schema(error):
        return DatabaseVersionError(f"the database does not have the schema of this release: {MIGRATE_HINT}")
    if getattr(error.orig, "sqlstate", None) == _NOT_ALLOWED_STATE:
        return ConfigurationError(f"the database URL's user may not do this: {_sentence(error)}")
    if isinstance(error, IntegrityError):
        return ConflictError(f"the database refused the change: {_sentence(error)}")
    if isinstance(error, ProgrammingError):
        return None
    return _trouble(error)


def _trouble(error: DBAPIError) -> UnavailableError:
    """What keeps the database from working, by what its driver tells."""
    said = _sentence(error)
    code = getattr(error.orig, "sqlite_errorcode", None)
    state = getattr(error.orig, "sqlstate", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in (_SQLITE_CORRUPT, _SQLITE_NOTADB) or state in _DAMAGED_STATES:
        return DatabaseDamagedError(f"{_DAMAGED} ({said})")
    if primary == _SQLITE_INTERRUPT or state == _CANCELLED_STATE:
        return DatabaseSlowError(f"{_SLOW} ({said})")
    known = _SQLITE.get(primary) if primary is not None else _POSTGRESQL.get(state or "")
    if known is None and state is None and any(words in said for words in _TOO_MANY):
        known = _CONNECTIONS
    return DatabaseAwayError(f"{_AWAY}: {said}" if known is None else f"{known} ({said})")


@contextmanager
def our_errors() -> Iterator[None]:
    """Raise `translated` errors inside the block as ours."""
    try:
        yield
    except (SQLAlchemyError, OverflowError, UnicodeError) as error:
        ours = translated(error)
        if ours is None:
            raise
        raise ours from error
