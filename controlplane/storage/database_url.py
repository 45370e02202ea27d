"""Database addresses: what is accepted, and how one is shown without its password.

Used inside `storage`, and by the services that save and restore a database.
"""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from controlplane.errors import ConfigurationError

_POSTGRESQL = {"postgres", "postgresql", "postgresql+psycopg"}
_EXAMPLES = "use sqlite:////path/to/file.db or postgresql://user@host/database"


def parse_url(text: str) -> URL:
    """The address in the form that the drivers need. Raises ConfigurationError, never naming the password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"the database URL cannot be read: {_EXAMPLES}") from None
    if url.drivername in _POSTGRESQL:
        if not url.database:
            raise ConfigurationError(f"the database URL names no database: {_EXAMPLES}")
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite":
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise ConfigurationError("the SQLite URL names no file: history must outlive the process; " + _EXAMPLES)
        return url
    raise ConfigurationError(f"the database URL names {url.drivername!a}, which is not supported: {_EXAMPLES}")


def kind_of(url: URL) -> str:
    """`sqlite` or `postgresql`."""
    return url.get_backend_name()


def database_kind(text: str) -> str:
    """`sqlite` or `postgresql`. Raises ConfigurationError."""
    return kind_of(parse_url(text))


def database_file(text: str) -> Path | None:
    """The file of a SQLite database; None for PostgreSQL. Raises ConfigurationError."""
    return sqlite_file(parse_url(text))


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite database; None for PostgreSQL."""
    return Path(url.database) if kind_of(url) == "sqlite" and url.database else None


def shown(url: URL) -> str:
    """For messages and logs: without user, password and options."""
    file = sqlite_file(url)
    if file is not None:
        return f"SQLite {file}"
    where = url.host or url.query.get("host") or "local socket"
    return f"PostgreSQL {url.database} at {where}"
