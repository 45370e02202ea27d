"""A whole database to a file and back, on both databases, while somebody writes."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from controlplane.errors import ConfigurationError, ConflictError, DatabaseAwayError, DatabaseDamagedError
from controlplane.storage import database_copy, migrate
from controlplane.storage.database import Database
from controlplane.storage.database_copy import CopyFailedError
from tests.contract.storage.facts import event, node

ROWS_COUNT = 3_000


async def test_a_copy_is_of_one_moment_while_others_write(
    database: Database, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Events are numbered without a gap, so a copy of several moments would show."""
    await database.run(lambda uow: uow.nodes.put(node()))
    await database.run(lambda uow: uow.events.append([event()] * ROWS_COUNT))
    target, told, enough = tmp_path / "copy", list[float](), asyncio.Event()

    async def write() -> None:
        while not enough.is_set():
            await database.run(lambda uow: uow.events.append([event()] * 50))

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        await asyncio.to_thread(database_copy.copy_out, database_url, target, told.append)
        enough.set()
    assert told[-1] == 1.0
    assert target.stat().st_mode & 0o777 == 0o600

    if database.kind == "sqlite":
        restored_url = f"sqlite:///{target}"
    else:
        restored_url = str(request.getfixturevalue("postgres_url"))
        await asyncio.to_thread(database_copy.copy_in, restored_url, target)
    migrate.require_current(restored_url)
    restored = Database.open(restored_url)
    assert await restored.run(lambda uow: uow.nodes.all()) == [node()]
    ids = [each.event_id for each in (await restored.run(lambda uow: uow.events.list(limit=10**6))).events]
    assert ids == list(range(1, len(ids) + 1))
    assert len(ids) >= ROWS_COUNT
    await restored.run(lambda uow: uow.events.append([event()]))
    await restored.close()


def test_nothing_is_overwritten(database_url: str, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.write_text("mine")
    with pytest.raises(FileExistsError):
        database_copy.copy_out(database_url, target, lambda _: None)
    assert target.read_text() == "mine"


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseAwayError, match="there is no database"):
        database_copy.copy_out(f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "copy", lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_is_not_saved_as_if_it_were_whole(tmp_path: Path) -> None:
    file = tmp_path / "stoker.db"
    migrate.upgrade(f"sqlite:///{file}")
    content = bytearray(file.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    file.write_bytes(content)
    with pytest.raises(DatabaseDamagedError, match="damaged"):
        database_copy.copy_out(f"sqlite:///{file}", tmp_path / "copy", lambda _: None)


def test_a_copy_without_a_wal_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "stoker.db"
    migrate.upgrade(f"sqlite:///{file}")
    database_copy.copy_out(f"sqlite:///{file}", tmp_path / "copy", lambda _: None)
    assert {path.name for path in tmp_path.iterdir()} >= {"copy"}
    assert not (tmp_path / "copy-wal").exists()
    with sqlite3.connect(tmp_path / "copy") as copy:
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    copy.close()


@pytest.mark.postgres
def test_a_database_that_is_not_empty_is_not_filled(postgres_url: str, tmp_path: Path) -> None:
    migrate.upgrade(postgres_url)
    database_copy.copy_out(postgres_url, tmp_path / "copy", lambda _: None)
    with pytest.raises(ConflictError, match="is not empty"):
        database_copy.copy_in(postgres_url, tmp_path / "copy")
    with pytest.raises(ConfigurationError, match="postgresql://"):
        database_copy.copy_in(f"sqlite:///{tmp_path / 'x.db'}", tmp_path / "copy")


@pytest.mark.postgres
def test_without_postgresqls_own_programs_it_says_what_to_install(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CopyFailedError, match="pg_dump is not on the PATH: install PostgreSQL's client programs"):
        database_copy.copy_out(postgres_url, tmp_path / "copy", lambda _: None)


@pytest.mark.postgres
def test_what_postgresql_says_is_passed_on_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(CopyFailedError, match=r"pg_dump failed on PostgreSQL stoker at 127\.0\.0\.1") as failed:
        database_copy.copy_out("postgresql://ann:s3cret@127.0.0.1:1/stoker", tmp_path / "copy", lambda _: None)
    assert "s3cret" not in str(failed.value)
