"""The databases that `bench.history` measures: a SQLite file, and a PostgreSQL cluster of its own, each made anew for a part."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controlplane.storage import migrate
from tests.support.postgres_cluster import PostgresCluster, find_binaries, short_folder

# As in production but for these two; fsync and the like are PostgreSQL's defaults, so a commit is on the disk.
POSTGRESQL_SETTINGS = ("shared_buffers=512MB", "max_wal_size=4GB")


@dataclass(frozen=True, slots=True)
class Stored:
    """A migrated, empty database."""

    kind: str
    url: str
    server_pid: int = 0  # 0: there is no server


@contextmanager
def sqlite_database() -> Iterator[Stored]:
    with tempfile.TemporaryDirectory(prefix="stoker-history-") as directory:
        url = f"sqlite:///{Path(directory) / 'stoker.db'}"
        migrate.upgrade(url)
        yield Stored("sqlite", url)


@contextmanager
def postgresql_database() -> Iterator[Stored]:
    """Raises PostgresError when its programs are missing."""
    binaries = find_binaries()
    folder = short_folder()
    cluster = PostgresCluster(folder, binaries, POSTGRESQL_SETTINGS)
    try:
        cluster.create()
        cluster.start()
        url = cluster.url(cluster.create_database())
        migrate.upgrade(url)
        yield Stored("postgresql", url, cluster.pid)
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


DATABASES = {"sqlite": sqlite_database, "postgresql": postgresql_database}
