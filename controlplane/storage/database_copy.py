"""A whole database to one file, and from one file to a whole database.

Called by `services.write_backup` and `services.restore_backup`. Blocking: never call it on a running event loop. SQLite is
copied as of one moment while the daemon goes on writing; PostgreSQL by its own pg_dump and pg_restore, which must be on the
PATH. Never overwrites: a file that is there, or a PostgreSQL database that is not empty, is refused.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, inspect

from controlplane.errors import ConfigurationError, ConflictError, DatabaseAwayError, DatabaseDamagedError, StokerError
from controlplane.fleet.access import ApiKey
from controlplane.storage import engines
from controlplane.storage.database_url import parse_url, shown, sqlite_file
from controlplane.storage.driver_errors import RESTORE_HINT, our_errors
from controlplane.storage.unit_of_work import UnitOfWork

T = TypeVar("T")
Progress = Callable[[float], None]  # told the share that is done, 0 to 1

_PAGES_AT_ONCE = 1_000  # 4 MB: short steps, so that the disk serves others in between
_BUSY_SECONDS_MAX = 30


class CopyFailedError(StokerError):
    """The database could not be copied; what was there is as it was."""

    code = "copy_failed"


def copy_out(url: str, target: Path, progress: Progress) -> None:
    """Copy the database into the new file `target`. Raises DatabaseAwayError, or CopyFailedError saying what to do."""
    parsed = parse_url(url)
    file = sqlite_file(parsed)
    if file is None:
        _dump(parsed, target)
    else:
        _copy_file(file, target, progress)
    progress(1.0)


def copy_in(url: str, source: Path) -> None:
    """Fill an empty PostgreSQL database from what `copy_out` made. All or nothing."""
    parsed = parse_url(url)
    if sqlite_file(parsed) is not None:
        raise ConfigurationError(
            "the backup holds a PostgreSQL database: name one with --database-url postgresql://..."
        )
    _refuse_filled(parsed)
    command = [
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
        "--dbname",
        _conninfo(parsed),
    ]
    _call("pg_restore", [*command, str(source)], parsed)


def check_file(file: Path) -> None:
    """Raises DatabaseDamagedError unless SQLite finds its own file whole. Leaves one file, without a WAL beside it."""
    try:
        with closing(sqlite3.connect(file)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        found = [str(error)]
    if found != ["ok"]:
        raise DatabaseDamagedError(f"the copy of the database is damaged ({found[0] if found else 'no answer'})")


def leader_epoch(url: str) -> int:
    """The epoch of the last leader; 0: nobody ever led, or the database cannot tell."""
    return _transact(url, lambda uow: leader.epoch if (leader := uow.leadership.current()) else 0)


def api_keys(url: str) -> list[ApiKey]:
    """All that were ever made, revoked ones too."""
    return _transact(url, lambda uow: uow.keys.list())


def change(url: str, fn: Callable[[UnitOfWork], None]) -> None:
    """Run `fn` in one transaction, without the daemon's threads."""
    _transact(url, fn)


def _transact(url: str, fn: Callable[[UnitOfWork], T]) -> T:
    engine = engines.create(parse_url(url))
    try:
        with our_errors(), engine.begin() as connection:
            return fn(UnitOfWork(connection))
    finally:
        engine.dispose()


def _copy_file(file: Path, target: Path, progress: Progress) -> None:
    if not file.exists():
        raise DatabaseAwayError(f"there is no database at {file}: name the right --data-dir or --database-url")
    target.touch(mode=0o600, exist_ok=False)

    def stepped(_status: int, remaining: int, total: int) -> None:
        progress((total - remaining) / total if total else 0.0)

    try:
        source = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS_MAX)
        with closing(source), closing(sqlite3.connect(target)) as copy:
            source.isolation_level = None
            source.execute("PRAGMA query_only = ON")
            # One moment for the whole copy: without it, every change that the daemon makes would begin the copy anew.
            source.execute("BEGIN")
            source.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
            source.backup(copy, pages=_PAGES_AT_ONCE, progress=stepped)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DatabaseDamagedError(
                f"the database is damaged, so it cannot be copied ({error}): {RESTORE_HINT}"
            ) from error
        raise CopyFailedError(
            f"the database could not be copied: {error}; look at the space beside {target.parent.parent} and try again"
        ) from error
    check_file(target)


def _dump(url: URL, target: Path) -> None:
    target.touch(mode=0o600, exist_ok=False)
    _call(
        "pg_dump",
        ["--format=custom", "--no-owner", "--no-privileges", "--file", str(target), "--dbname", _conninfo(url)],
        url,
    )


def _call(program: str, arguments: list[str], url: URL) -> None:
    found = shutil.which(program)
    if found is None:
        raise CopyFailedError(
            f"{program} is not on the PATH: install PostgreSQL's client programs, of the server's version or newer; "
            f"or save {shown(url)} by its own means and use --identity-only for the rest"
        )
    environment = {**os.environ, "PGCONNECT_TIMEOUT": "10"}
    if url.password is not None:
        environment["PGPASSWORD"] = str(url.password)  # not as an argument, which others could see
    done = subprocess.run([found, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise CopyFailedError(f"{program} failed on {shown(url)}: {said[:500]}")


def _conninfo(url: URL) -> str:
    """For PostgreSQL's own programs, without the password."""
    return url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)


def _refuse_filled(url: URL) -> None:
    engine = engines.create(url)
    try:
        with our_errors(), engine.connect() as connection:
            tables = inspect(connection).get_table_names()
    finally:
        engine.dispose()
    if tables:
        raise ConflictError(
            f"{shown(url)} is not empty (it has {len(tables)} tables), and nothing is overwritten: make an empty database "
            "with `createdb` and name it with --database-url, or restore with --identity-only"
        )
