"""What goes wrong with a SQLite file: locked by another, not a database, on a full disk. None of it is fatal."""

import sqlite3
from pathlib import Path

import pytest

from controlplane.clock import SystemClock
from controlplane.errors import UnavailableError
from controlplane.storage import engines, migrate
from controlplane.storage.database import Database
from controlplane.storage.row_writers import SAMPLES
from controlplane.storage.unit_of_work import load_desired
from tests.contract.storage.facts import sample


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "stoker.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


async def test_the_pragmas_are_those_we_promise(file: Path) -> None:
    database = Database.open(f"sqlite:///{file}")

    def ask(name: str) -> object:
        return database._writing.submit(
            lambda: database._engine.raw_connection().cursor().execute(f"PRAGMA {name}").fetchone()[0]
        ).result()

    assert [ask(name) for name in ("journal_mode", "synchronous", "foreign_keys")] == ["wal", 1, 1]
    await database.close()


async def test_a_file_locked_by_another_is_away_until_it_is_free(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_BUSY_SECONDS_MAX", 0)
    database = Database.open(f"sqlite:///{file}")
    writer = SAMPLES.writer(database, SystemClock())
    writer.add([sample(0)])
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert not await writer.flush()
    assert writer.waiting_count == 1
    other.execute("COMMIT")
    other.close()
    assert await writer.flush()
    await database.close()


async def test_readers_do_not_disturb_the_writer(file: Path) -> None:
    """An analyst with the file open in the middle of a query."""
    database = Database.open(f"sqlite:///{file}")
    analyst = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)
    analyst.execute("BEGIN")
    assert analyst.execute("SELECT COUNT(*) FROM engine_samples").fetchone() == (0,)
    await database.run(lambda uow: uow.samples.append_many([sample(0)]))
    assert analyst.execute("SELECT COUNT(*) FROM engine_samples").fetchone() == (0,)
    analyst.execute("COMMIT")
    assert analyst.execute("SELECT COUNT(*) FROM engine_samples").fetchone() == (1,)
    analyst.close()
    await database.close()


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "stoker.db"
    path.write_text("my shopping list, " * 100)
    database = Database.open(f"sqlite:///{path}")
    with pytest.raises(UnavailableError, match="not a database"):
        await database.run(load_desired)
    await database.close()
    assert path.read_text().startswith("my shopping list")


async def test_a_full_disk_is_waited_for(file: Path) -> None:
    """The page limit stands in for the disk: SQLite's answer is the same."""
    database = Database.open(f"sqlite:///{file}")
    writer = SAMPLES.writer(database, SystemClock(), batch_max=5_000)
    await database.run(lambda uow: uow.samples._connection.exec_driver_sql("PRAGMA max_page_count = 1"))
    writer.add([sample(n) for n in range(5_000)])
    assert not await writer.flush()
    assert writer.waiting_count == 5_000
    await database.run(lambda uow: uow.samples._connection.exec_driver_sql("PRAGMA max_page_count = 1000000"))
    assert await writer.flush()
    await database.close()
