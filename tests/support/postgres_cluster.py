"""A PostgreSQL cluster of its own, listening on a Unix socket only, so that no port can be taken.

Used by the tests' fixtures (`tests.support.postgres`) and by `bench.history`; knows nothing of pytest. initdb refuses to run as
root: then the cluster belongs to the user `postgres`. The server dies with the process that started it.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from threading import Thread
from typing import IO

import psycopg
from psycopg import sql

from tests.support.launch import launched

BINARIES_VARIABLE = "STOKER_TEST_POSTGRES_BIN"
FAST_AND_UNSAFE = ("fsync=off", "full_page_writes=off")  # for tests: a machine that crashes may cost the cluster
_USUAL_PLACES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/pgsql/bin",
    "opt/homebrew/opt/postgresql*/bin",
)
_SETTINGS = ("listen_addresses=", "lc_messages=C", "max_connections=50")
_SOCKET_PATH_MAX = 107


class PostgresError(RuntimeError):
    """There is no PostgreSQL to start, or it did not start."""


def find_binaries() -> Path:
    """The folder with initdb and postgres. Raises PostgresError when there is none."""
    told = os.environ.get(BINARIES_VARIABLE)
    on_path = shutil.which("initdb")
    found = [Path(told)] if told else []
    found += [Path(on_path).resolve().parent] if on_path else []
    found += [folder for place in _USUAL_PLACES for folder in sorted(Path("/").glob(place), reverse=True)]
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PostgresError(
        "PostgreSQL's server programs (initdb, postgres) were not found: install the package `postgresql`, or set "
        f"{BINARIES_VARIABLE} to their folder"
    )


def short_folder() -> Path:
    """A new folder for a cluster, whose socket's path fits the system's limit."""
    folder = Path(tempfile.mkdtemp(prefix="stoker-pg-"))
    if len(str(folder / ".s.PGSQL.5432")) > _SOCKET_PATH_MAX:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="stoker-pg-", dir="/tmp"))
    return folder


class PostgresCluster:
    """A running server. `stop` and `start` again are for tests of a database that goes away."""

    def __init__(self, folder: Path, binaries: Path, settings: Sequence[str] = FAST_AND_UNSAFE) -> None:
        """`settings`: as in its configuration file, "name=value"."""
        self._folder = folder
        self._binaries = binaries
        self._own_settings = tuple(settings)
        self._user = "postgres" if os.geteuid() == 0 else None
        self._server: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._numbers = count(1)

    @property
    def pid(self) -> int:
        """Of the server, which is the parent of its sessions' processes. Raises PostgresError when it does not run."""
        if self._server is None:
            raise PostgresError("PostgreSQL does not run")
        return self._server.pid

    def create(self) -> None:
        """Make the cluster's files. Raises PostgresError."""
        if self._user is not None:
            try:
                owner = pwd.getpwnam(self._user)
            except KeyError:
                raise PostgresError("running as root needs a user `postgres` for the cluster: add one") from None
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        options = ["-U", "stoker", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            launched(str(self._binaries / "initdb"), "-D", str(self._folder / "data"), *options, user=self._user),
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise PostgresError(f"initdb failed:\n{made.stderr}")

    def start(self) -> None:
        """Start the server and return once it takes connections. Raises PostgresError."""
        settings = [*_SETTINGS, *self._own_settings, f"unix_socket_directories={self._folder}"]
        server = subprocess.Popen(
            launched(
                str(self._binaries / "postgres"),
                "-D",
                str(self._folder / "data"),
                *(f"--{it}" for it in settings),
                user=self._user,
                dies_with_parent=True,
            ),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for whoever started it, who then stops it
        )
        self._server = server
        assert server.stderr is not None
        for line in server.stderr:
            self._log.append(line)
            if "ready to accept connections" in line:
                Thread(target=_drain, args=(server.stderr, self._log), daemon=True).start()
                return
        raise PostgresError("PostgreSQL did not start:\n" + "".join(self._log[-20:]))

    def stop(self) -> None:
        """Stop the server, ending its sessions. Its files stay for another `start`."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)  # "fast": sessions are ended, nothing is lost
            self._server.wait()
            self._server = None

    def kill(self) -> None:
        """Have the server die at once, as in a crash."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()
            self._server = None

    def url(self, database: str) -> str:
        """An address as people write it, for Stoker."""
        return f"postgresql://stoker@/{database}?host={self._folder}"

    def create_database(self, template: str = "template1") -> str:
        """A new database's name; with `template` a copy of that one."""
        name = f"test_{next(self._numbers)}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def drop_database(self, name: str) -> None:
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(f"user=stoker dbname=postgres host={self._folder}", autocommit=True) as connection:
            connection.execute(statement)


def _drain(stream: IO[str], log: list[str]) -> None:
    log.extend(stream)
