"""Each trouble of a database is told in words that say what to do, and none needs a restart once it is mended."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.clock import SystemClock
from controlplane.errors import DatabaseAwayError, DatabaseDamagedError, StokerError
from controlplane.fleet.history import FleetEvent
from controlplane.storage import engines, migrate
from controlplane.storage.batch_writer import BatchWriter
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork, load_desired
from tests.contract.storage.facts import event, node
from tests.support.postgres import PostgresCluster


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "stoker.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


def overwritten(file: Path, change: Callable[[bytes], bytes]) -> bytes:
    """What was in the file before."""
    before = file.read_bytes()
    file.write_bytes(change(before))
    return before


def writer_of(database: Database) -> BatchWriter[FleetEvent]:
    return BatchWriter("events", lambda uow, rows: uow.events.append(rows), database, SystemClock(), 1.0, 100, 100)


async def test_a_damaged_file_names_the_way_back_and_goes_on_once_it_is_mended(file: Path) -> None:
    """As when a disk returned nonsense for a while, or somebody copied over the file."""
    whole = overwritten(file, lambda before: b"\xff" * len(before))
    database = Database.open(f"sqlite:///{file}")
    writer = writer_of(database)
    writer.add([event()])
    assert not await writer.flush()
    with pytest.raises(DatabaseDamagedError, match="restore a backup with `stoker-controlplane restore FILE`"):
        await database.run(load_desired)
    with pytest.raises(DatabaseDamagedError):
        await database.read(load_desired)
    overwritten(file, lambda _: whole)
    assert await writer.flush()
    assert len((await database.read(lambda uow: uow.events.list())).events) == 1
    await database.close()


async def test_a_damaged_page_is_found_by_who_reads_it_and_others_go_on(file: Path) -> None:
    heard: list[StokerError | None] = []
    first = Database.open(f"sqlite:///{file}")
    await first.run(lambda uow: uow.events.append([event()] * 2_000))
    await first.close()
    with sqlite3.connect(file) as connection:
        [root] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'fleet_events'").fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    at = (root - 1) * size
    overwritten(file, lambda before: before[:at] + b"\xff" * 100 + before[at + 100 :])

    database = Database.open(f"sqlite:///{file}")
    database.listen(heard.append)
    with pytest.raises(DatabaseDamagedError):
        await database.read(lambda uow: uow.events.list())
    await database.run(lambda uow: uow.nodes.put(node()))
    assert [type(each) for each in heard] == [DatabaseDamagedError, type(None)], "damage is told by readers, too"
    await database.close()


async def test_a_lock_names_who_to_look_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_BUSY_SECONDS_MAX", 0)
    database = Database.open(f"sqlite:///{file}")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseAwayError, match="another program keeps the database locked"):
        await database.run(load_desired)
    assert (await database.read(load_desired)).nodes == {}, "readers do not mind"
    other.close()
    await database.run(load_desired)
    await database.close()


async def test_a_full_disk_says_so(file: Path) -> None:
    database = Database.open(f"sqlite:///{file}")

    def too_much(uow: UnitOfWork) -> None:
        uow.events._connection.exec_driver_sql("PRAGMA max_page_count = 1")
        uow.events.append([event()] * 5_000)

    with pytest.raises(DatabaseAwayError, match="disk is full: free space"):
        await database.run(too_much)
    await database.close()


async def test_a_file_that_is_gone_is_not_made_anew_by_a_reader(tmp_path: Path) -> None:
    file = tmp_path / "stoker.db"
    database = Database.open(f"sqlite:///{file}")
    with pytest.raises(DatabaseAwayError, match="cannot be opened"):
        await database.read(load_desired)
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    await database.close()


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())", "away"),
        ("SET TRANSACTION READ ONLY; CREATE TABLE x (y int)", "only lets us read"),
        ("SET LOCAL statement_timeout TO 10; SELECT pg_sleep(30)", "took longer"),
        ("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", "disk is full"),
        ("DO $$ BEGIN RAISE SQLSTATE '53300'; END $$", "max_connections"),
        ("DO $$ BEGIN RAISE SQLSTATE '58030'; END $$", "disk fails"),
        ("DO $$ BEGIN RAISE SQLSTATE 'XX001'; END $$", "damaged"),
        ("DO $$ BEGIN RAISE SQLSTATE '57P03'; END $$", "starting or stopping"),
    ],
)
async def test_what_postgresql_reports(postgres_url: str, statement: str, says: str) -> None:
    migrate.upgrade(postgres_url)
    database = Database.open(postgres_url)

    def run(uow: UnitOfWork) -> None:
        for part in [statement] if statement.startswith("DO") else statement.split("; "):
            uow.nodes._connection.exec_driver_sql(part)

    with pytest.raises(DatabaseAwayError, match=says):
        await database.run(run)
    await database.run(load_desired)
    await database.close()


@pytest.mark.postgres
async def test_no_connection_left(postgres_cluster: PostgresCluster, postgres_url: str) -> None:
    migrate.upgrade(postgres_url)
    owner = Database.open(postgres_url)
    await owner.run(lambda uow: uow.nodes._connection.exec_driver_sql("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0"))
    crowded = Database.open(postgres_url.replace("stoker@", "crowded@"))
    with pytest.raises(DatabaseAwayError, match="takes no more connections: end some, or raise its max_connections"):
        await crowded.run(load_desired)
    await crowded.close()
    await owner.run(lambda uow: uow.nodes._connection.exec_driver_sql("DROP ROLE crowded"))
    await owner.close()
