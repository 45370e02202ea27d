"""Drivers' errors, translated into ours: the one table for both databases.

Called by everything in `storage` that talks to a database. The message keeps the driver's own sentence, never the
statement's parameters, which may hold what operators typed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from controlplane.errors import (
    ConfigurationError,
    ConflictError,
    DatabaseVersionError,
    InvalidInputError,
    StokerError,
    UnavailableError,
)

_SCHEMA_MISSING = ("no such table", "no such column", "has no column named")
_SCHEMA_STATES = {"42P01", "42703"}  # PostgreSQL: undefined table, undefined column
_NOT_ALLOWED_STATE = "42501"
MIGRATE_HINT = "run `stoker-controlplane migrate`"


def _sentence(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__


def _lacks_schema(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state in _SCHEMA_STATES or any(words in str(error.orig) for words in _SCHEMA_MISSING)


def translated(error: SQLAlchemyError | OverflowError | UnicodeError) -> StokerError | None:
    """Our error for this one; None when it is a fault of our own code, to be raised as it is."""
    if isinstance(error, PoolTimeoutError):
        return UnavailableError("the database is busy")
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
    if isinstance(error, OperationalError | InterfaceError | InternalError) or error.connection_invalidated:
        return UnavailableError(f"the database is away: {_sentence(error)}")
    return UnavailableError(f"the database failed: {_sentence(error)}")


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
