"""A disk that does not do its part costs nothing but durability, and is said: full, damaged, not there."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.session.records import RequestRecord
from node_agent.spool.record_store import RETRY_SECONDS, Limits, RecordStore
from tests.support.spool import numbered, sample

BYTES_MAX = 64 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    made = RecordStore(tmp_path / "spool.sqlite3", Limits())
    yield made
    made.close()


def kinds(store: RecordStore) -> list[str]:
    return [trouble.kind for trouble in store.troubles()]


def delivered(store: RecordStore, at: float) -> list[str]:
    """Everything that is there, taken as the pump takes it."""
    names: list[str] = []
    while (batch := store.read_oldest(100, BYTES_MAX, at)) is not None:
        names += [
            record.body.request_id if isinstance(record.body, RequestRecord) else "sample" for record in batch.records
        ]
        store.forget_through(batch.spool_id, batch.records[-1].sequence, at)
    return names


def fill_disk(store: RecordStore) -> None:
    assert store._file is not None
    pages = store._file._one("PRAGMA page_count")
    store._file._db.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_said_once_and_records_wait_in_memory(store: RecordStore) -> None:
    assert store.append_requests("i1", numbered(1), 0.0) == 1
    fill_disk(store)
    assert store.append_requests("i1", numbered(*range(2, 500)), 0.0) == 499
    assert store.append_requests("i1", numbered(*range(498, 900)), 10.0) == 899
    [trouble] = store.troubles()
    assert trouble.kind == "spool_full"
    assert "free space" in trouble.action
    assert delivered(store, 20.0) == [f"r{number}" for number in range(1, 900)]


def test_when_there_is_space_again_the_disk_is_used_and_nothing_repeats(store: RecordStore) -> None:
    store.append_requests("i1", numbered(1), 0.0)
    fill_disk(store)
    store.append_requests("i1", numbered(*range(2, 500)), 0.0)
    assert store._file is not None
    store._file._db.execute("PRAGMA max_page_count = 100000")
    assert store.append_requests("i1", numbered(499, 500), RETRY_SECONDS + 1) == 500
    assert kinds(store) == ["spool_full", "spool_restored"]
    assert store._file.highest("i1") == 500
    assert sorted(delivered(store, 60.0)) == sorted(f"r{number}" for number in range(1, 501))


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_file_is_moved_aside_and_a_new_one_is_begun(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "spool.sqlite3"
    path.write_bytes(content)
    store = RecordStore(path, Limits())
    assert store.append_requests("i1", numbered(1), 0.0) == 1
    [trouble] = store.troubles()
    assert trouble.kind == "spool_broken"
    assert (tmp_path / "spool.sqlite3.broken").read_bytes() == content
    store.close()
    again = RecordStore(path, Limits())
    assert delivered(again, 0.0) == ["r1"]
    assert kinds(again) == []
    again.close()


def test_damage_that_is_found_while_it_runs(store: RecordStore, tmp_path: Path) -> None:
    store.append_requests("i1", numbered(1, 2), 0.0)
    assert store._file is not None
    name = store._file.spool_id
    store._file._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / "spool.sqlite3").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8 * 4096)
    store._file._db.execute("PRAGMA shrink_memory")
    with sqlite3.connect(tmp_path / "spool.sqlite3") as other:
        other.execute("PRAGMA user_version = 1")  # makes the one that is open read its pages anew
    assert store.append_requests("i1", numbered(3), 0.0) == 3
    assert store.append_requests("i1", numbered(1, 2, 3), 0.0) == 3
    assert kinds(store) == ["spool_broken"]
    assert delivered(store, 0.0) == ["r3"]
    assert store._file is not None
    assert store._file.spool_id != name


def test_no_disk_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a directory")
    store = RecordStore(tmp_path / "file" / "spool.sqlite3", Limits())
    assert store.append_requests("i1", numbered(1), 0.0) == 1
    store.append_samples([sample()], 1.0)
    assert store.append_requests("i1", numbered(1, 2), RETRY_SECONDS + 5) == 2
    assert kinds(store) == ["spool_broken"]
    assert delivered(store, 100.0) == ["r1", "sample", "r2"]
    (tmp_path / "file").unlink()
    store.append_requests("i1", numbered(3), 200.0)
    assert kinds(store) == ["spool_restored"]
    assert (tmp_path / "file" / "spool.sqlite3").stat().st_mode & 0o077 == 0
    store.close()


def test_what_was_received_of_an_unknown_spool_is_ignored(store: RecordStore) -> None:
    store.append_requests("i1", numbered(1), 0.0)
    store.forget_through("somebody-else", 99, 0.0)
    assert delivered(store, 0.0) == ["r1"]
