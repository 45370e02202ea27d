"""Bringing a database to this release's schema, and refusing one that is not.

`stoker-controlplane init` and `migrate` upgrade; the daemon calls `require_current` before it opens the database.
Blocking: never call it on a running event loop. It works from an installed wheel, where `migrations` is a package too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, text

from controlplane.errors import DatabaseVersionError
from controlplane.storage import engines
from controlplane.storage.database_url import kind_of, parse_url, shown, sqlite_file
from controlplane.storage.driver_errors import MIGRATE_HINT, our_errors

# On PostgreSQL one migration at a time; on SQLite the write lock sees to it. The number only has to be ours: "StokM".
_MIGRATION_LOCK = 0x53746F6B4D


def head() -> str:
    """The revision that this release needs."""
    found = _scripts().get_current_head()
    if found is None:
        raise DatabaseVersionError("this installation lacks its migrations: install Stoker again")
    return found


def current(url: str) -> str | None:
    """The revision of the database; None when it was never migrated or its file is not there."""
    parsed = parse_url(url)
    file = sqlite_file(parsed)
    if file is not None and not file.exists():
        return None  # looking must not create it
    with _connected(parsed) as connection:
        return _revision(connection)


def upgrade(url: str) -> None:
    """Bring the database to `head`, all or nothing; data stays. Raises DatabaseVersionError when it is newer."""
    with _connected(parse_url(url)) as connection:
        _prepare(connection, parse_url(url))
        command.upgrade(_config(connection), "head")


def downgrade(url: str, revision: str) -> None:
    """Bring the database back to an older revision; `base` empties it. What the older one cannot hold is lost."""
    with _connected(parse_url(url)) as connection:
        _prepare(connection, parse_url(url))
        command.downgrade(_config(connection), revision)


def require_current(url: str) -> None:
    """Raises DatabaseVersionError, saying what to do, unless the database is at `head`."""
    found, needed, name = current(url), head(), shown(parse_url(url))
    if found is None:
        raise DatabaseVersionError(f"{name} was never set up for Stoker: {MIGRATE_HINT}")
    _refuse_newer(found, name)
    if found != needed:
        raise DatabaseVersionError(
            f"{name} was written by an older release (its schema is {found}, needed is {needed}): {MIGRATE_HINT}"
        )


def require_known(url: str) -> None:
    """Raises DatabaseVersionError when a newer release wrote the database, or none of ours."""
    found, name = current(url), shown(parse_url(url))
    if found is None:
        raise DatabaseVersionError(f"{name} was never set up for Stoker: {MIGRATE_HINT}")
    _refuse_newer(found, name)


def require_known_revision(revision: str, name: str) -> None:
    """Raises DatabaseVersionError when this release does not know the revision; `name` is whose it is, for people."""
    _refuse_newer(revision, name)


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _prepare(connection: Connection, url: URL) -> None:
    if kind_of(url) == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    found = _revision(connection)
    if found is not None:
        _refuse_newer(found, shown(url))


def _refuse_newer(found: str, name: str) -> None:
    scripts = _scripts()
    if found not in {script.revision for script in scripts.walk_revisions()}:
        raise DatabaseVersionError(
            f"{name} was written by a newer release of Stoker: its schema {found!a} is unknown here, where the "
            f"newest is {scripts.get_current_head()}. Install that release again, or restore a backup from before it"
        )


@contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    """One transaction, so that a migration that fails leaves the database as it was."""
    engine = engines.create(url)
    try:
        with our_errors(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
