"""A PostgreSQL cluster of its own for tests: started on first use, gone with them however they end.

`postgres_cluster` is one per session, `postgres_url` an empty database per test. It listens on a Unix socket only, so
no port can be taken. initdb refuses to run as root: then the cluster belongs to the user `postgres`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Thread
from typing import IO

import psycopg
import pytest
from psycopg import sql

from tests.support.launch import launched

_BINARIES_VARIABLE = "STOKER_TEST_POSTGRES_BIN"
_USUAL_PLACES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/pgsql/bin",
    "opt/homebrew/opt/postgresql*/bin",
)
_SETTINGS = ("fsync=off", "full_page_writes=off", "listen_addresses=", "lc_messages=C")
_SOCKET_PATH_MAX = 107


def find_binaries() -> Path:
    """The folder with initdb and postgres. Fails the test, saying what to do, when there is none."""
    told = os.environ.get(_BINARIES_VARIABLE)
    on_path = shutil.which("initdb")
    found = [Path(told)] if told else []
    found += [Path(on_path).resolve().parent] if on_path else []
    found += [folder for place in _USUAL_PLACES for folder in sorted(Path("/").glob(place), reverse=True)]
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.fail(
        "these tests need PostgreSQL's server programs (initdb, postgres): install the package `postgresql`, set "
        f"{_BINARIES_VARIABLE} to their folder, or leave these tests out with `-m 'not postgres'`",
        pytrace=False,
    )


class PostgresCluster:
    """A running server. `stop` and `start` again are for tests of a database that goes away."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self._folder = folder
        self._binaries = binaries
        self._user = "postgres" if os.geteuid() == 0 else None
        self._server: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._numbers = count(1)

    def create(self) -> None:
        """Make the cluster's files."""
        if self._user is not None:
            try:
                owner = pwd.getpwnam(self._user)
            except KeyError:
                pytest.fail("running as root needs a user `postgres` for the cluster: add one", pytrace=False)
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
            pytest.fail(f"initdb failed:\n{made.stderr}", pytrace=False)

    def start(self) -> None:
        """Start the server and return once it takes connections."""
        settings = [*_SETTINGS, f"unix_socket_directories={self._folder}", "max_connections=50"]
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
            start_new_session=True,  # Ctrl-C is for the tests, which then stop it
        )
        self._server = server
        assert server.stderr is not None
        for line in server.stderr:
            self._log.append(line)
            if "ready to accept connections" in line:
                Thread(target=_drain, args=(server.stderr, self._log), daemon=True).start()
                return
        pytest.fail("PostgreSQL did not start:\n" + "".join(self._log[-20:]), pytrace=False)

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


def _short_folder() -> Path:
    """A folder whose socket's path fits the system's limit."""
    folder = Path(tempfile.mkdtemp(prefix="stoker-pg-"))
    if len(str(folder / ".s.PGSQL.5432")) > _SOCKET_PATH_MAX:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="stoker-pg-", dir="/tmp"))
    return folder


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """One server for all tests of the session. A test that stops it must start it again."""
    binaries = find_binaries()
    folder = _short_folder()
    cluster = PostgresCluster(folder, binaries)
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """An empty database."""
    name = postgres_cluster.create_database()
    yield postgres_cluster.url(name)
    postgres_cluster.drop_database(name)
