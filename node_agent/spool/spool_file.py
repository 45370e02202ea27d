"""One numbered spool of records: a SQLite file, or the same in memory when there is no disk to trust.

Used by `record_store` on the spool's own thread; blocks, and raises sqlite3.Error when the disk does not do its part.
Never reads a clock: `at_seconds` comes from a steady one. Numbers begin at 1 and are never used twice, also when a power
failure takes back what was written last: every opening leaves a gap larger than what can be lost.
"""

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from node_agent.session.records import EngineSample, Record, RequestRecord
from node_agent.spool import payloads
from node_agent.spool.payloads import UnreadableRecordError

_SCHEMA_VERSION = 1
_NUMBERS_LEFT_OUT = 1 << 20  # at every opening: more records than a write-ahead log can hold
_CHUNK = 500  # records that are dropped at once
_FREE_PAGES_KEPT = 1000
_INSTANCES_KEPT = 1000
_SCHEMA = (
    "CREATE TABLE spool (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), spool_id TEXT NOT NULL, dropped INTEGER NOT NULL)",
    """CREATE TABLE records (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, kept_at REAL NOT NULL, kind INTEGER NOT NULL, payload BLOB NOT NULL)""",
    """CREATE TABLE instances (
        touched INTEGER PRIMARY KEY AUTOINCREMENT, instance_id TEXT NOT NULL UNIQUE, plugin_sequence INTEGER NOT NULL)""",
    "INSERT INTO sqlite_sequence (name, seq) VALUES ('records', 0)",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)


class SpoolFile:
    """`path` None: in memory, gone with this object. `age_seconds_max` and `bytes_max` bound what it holds."""

    def __init__(self, path: Path | None, *, age_seconds_max: float, bytes_max: int) -> None:
        self._age_seconds_max = age_seconds_max
        self._bytes_max = bytes_max
        self._dropped = 0
        self._forgotten_through = 0  # also when the disk was too full to delete it
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=1.0, check_same_thread=False)
        try:
            self._set_up()
            row = self._db.execute("SELECT spool_id, dropped FROM spool").fetchone()
            self._page_bytes = int(self._one("PRAGMA page_size"))
        except BaseException:
            self._db.close()
            raise
        if row is None:
            self._db.close()
            raise sqlite3.DatabaseError("the spool has lost its name")
        self.spool_id: str = row[0]
        self._dropped = int(row[1])

    @property
    def dropped(self) -> int:
        """Records that were never delivered, since the spool was begun."""
        return self._dropped

    def append_requests(self, instance_id: str, records: Sequence[tuple[int, RequestRecord]], at_seconds: float) -> int:
        """Keep those whose number from the plug-in is higher than any before; the highest that is kept now.

        Durable when it returns, together with that number: a repeat is ignored, also after a restart.
        """
        with self._transaction():
            highest = self.highest(instance_id)
            bodies = []
            for number, record in sorted(records, key=lambda numbered: numbered[0]):
                if number > highest:
                    highest = number
                    bodies.append(record)
            if bodies:
                self._db.execute("DELETE FROM instances WHERE instance_id = ?", (instance_id,))
                self._db.execute(
                    "INSERT INTO instances (instance_id, plugin_sequence) VALUES (?, ?)", (instance_id, highest)
                )
                oldest = "(SELECT instance_id FROM instances ORDER BY touched DESC LIMIT -1 OFFSET ?)"
                self._db.execute(f"DELETE FROM instances WHERE instance_id IN {oldest}", (_INSTANCES_KEPT,))  # noqa: S608
                self._append(bodies, at_seconds)
        return highest

    def append_samples(self, samples: Sequence[EngineSample], at_seconds: float) -> None:
        with self._transaction():
            self._append(samples, at_seconds)

    def highest(self, instance_id: str) -> int:
        """The highest number that this engine's plug-in gave to a record that was kept; 0: none."""
        row = self._db.execute("SELECT plugin_sequence FROM instances WHERE instance_id = ?", (instance_id,)).fetchone()
        return int(row[0]) if row else 0

    def read_after(self, sequence: int, limit: int, *, bytes_max: int | None = None) -> list[Record]:
        """The oldest records beyond `sequence`, in order: at most `limit`, and of about `bytes_max` on the wire."""
        found: list[Record] = []
        unreadable: list[int] = []
        size = 0
        rows = self._db.execute(
            "SELECT sequence, kind, payload FROM records WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (max(sequence, self._forgotten_through), limit),
        )
        for number, kind, payload in rows:
            try:
                body, wire_bytes = payloads.decode(kind, payload)
            except UnreadableRecordError:
                unreadable.append(number)
                continue
            size += wire_bytes
            if found and bytes_max is not None and size > bytes_max:
                break
            found.append(Record(number, body))
        rows.close()
        if unreadable:
            with self._transaction():
                self._db.executemany("DELETE FROM records WHERE sequence = ?", [(number,) for number in unreadable])
                self._count_dropped(len(unreadable))
            return found or self.read_after(sequence, limit, bytes_max=bytes_max)
        return found

    def forget_through(self, sequence: int) -> None:
        """These are delivered. They are not read again, even if the disk is too full to delete them now."""
        self._forgotten_through = max(self._forgotten_through, sequence)
        with self._transaction():
            self._db.execute("DELETE FROM records WHERE sequence <= ?", (self._forgotten_through,))
        if self._one("PRAGMA freelist_count") > _FREE_PAGES_KEPT:
            self._db.execute(f"PRAGMA incremental_vacuum({_FREE_PAGES_KEPT})").fetchall()

    def close(self) -> None:
        self._db.close()

    def _set_up(self) -> None:
        version = self._one("PRAGMA user_version")
        if version not in (0, _SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"the spool was written by another release (its form is {version})")
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA journal_size_limit = 4194304")
        self._db.execute("PRAGMA synchronous = FULL")  # the gap in the numbers is worth nothing when it can be lost
        with self._transaction():
            if version == 0:
                for statement in _SCHEMA:
                    self._db.execute(statement)
                self._db.execute("INSERT INTO spool VALUES (1, ?, 0)", (uuid.uuid4().hex,))
            else:
                self._db.execute(
                    "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'records'", (_NUMBERS_LEFT_OUT,)
                )
        self._db.execute("PRAGMA synchronous = NORMAL")

    def _append(self, bodies: Sequence[RequestRecord | EngineSample], at_seconds: float) -> None:
        rows, refused = [], 0
        for body in bodies:
            try:
                rows.append((at_seconds, *payloads.encode(body)))
            except UnreadableRecordError:
                refused += 1
        self._db.executemany("INSERT INTO records (kept_at, kind, payload) VALUES (?, ?, ?)", rows)
        if refused:
            self._count_dropped(refused)
        self._make_room(at_seconds - self._age_seconds_max)

    def _make_room(self, kept_since: float) -> None:
        """Drop the oldest: those from before `kept_since`, and as many more as it takes to fit."""
        self._db.execute("DELETE FROM records WHERE sequence <= ?", (self._forgotten_through,))
        oldest = "sequence IN (SELECT sequence FROM records ORDER BY sequence LIMIT ?)"
        old, gone = f"DELETE FROM records WHERE {oldest} AND kept_at < ?", _CHUNK  # noqa: S608
        while gone == _CHUNK:
            gone = self._db.execute(old, (_CHUNK, kept_since)).rowcount
            self._count_dropped(gone)
        gone = 1
        while gone and self._used_bytes() > self._bytes_max:
            gone = self._db.execute(f"DELETE FROM records WHERE {oldest}", (_CHUNK // 10,)).rowcount  # noqa: S608
            self._count_dropped(gone)

    def _count_dropped(self, count: int) -> None:
        if not count:
            return
        self._db.execute("UPDATE spool SET dropped = dropped + ?", (count,))
        self._dropped += count

    def _used_bytes(self) -> int:
        return int(self._one("PRAGMA page_count") - self._one("PRAGMA freelist_count")) * self._page_bytes

    def _one(self, question: str) -> int:
        return int(self._db.execute(question).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        dropped = self._dropped
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._dropped = dropped
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
