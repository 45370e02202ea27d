"""The spool on disk, and in memory while the disk does not do its part. Used by `record_spool` on the spool's own thread.

A broken or full disk never raises here: records are then kept in memory, within a bound, and the disk is tried again after a
while. What was found is told by `troubles`. Memory is a spool of its own name, so both are delivered, each in its order.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from node_agent.session.records import EngineSample, RecordBatch, RequestRecord
from node_agent.session.values import Severity
from node_agent.spool.spool_file import SpoolFile

T = TypeVar("T")

MEMORY_BYTES_MAX = 16 * 1024 * 1024
RETRY_SECONDS = 30.0
_INSTANCES_MAX = 1000
_SUFFIXES = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Limits:
    age_seconds_max: float = 86_400.0
    bytes_max: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the node's operator should know of the spool."""

    kind: str
    message: str
    severity: Severity
    action: str = ""


class RecordStore:
    """Creating one touches nothing; the file is opened by the first call."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._file: SpoolFile | None = None
        self._memory: SpoolFile | None = None
        self._retry_at_seconds: float | None = None  # None: the disk does its part
        self._highest: dict[str, int] = {}  # by instance: the number of the last record that was kept, wherever
        self._troubles: list[Trouble] = []

    def append_requests(self, instance_id: str, records: Sequence[tuple[int, RequestRecord]], at_seconds: float) -> int:
        """See `SpoolFile.append_requests`. In memory it is as durable as this process is."""
        known = self._highest.get(instance_id, 0)
        fresh = [numbered for numbered in records if numbered[0] > known]
        kept = self._write(lambda spool: spool.append_requests(instance_id, fresh, at_seconds), at_seconds)
        self._highest.pop(instance_id, None)  # the newest go to the end, the oldest are let go
        self._highest[instance_id] = max(known, kept)
        if len(self._highest) > _INSTANCES_MAX:
            del self._highest[next(iter(self._highest))]
        return self._highest[instance_id]

    def append_samples(self, samples: Sequence[EngineSample], at_seconds: float) -> None:
        self._write(lambda spool: spool.append_samples(samples, at_seconds), at_seconds)

    def read_oldest(self, limit: int, bytes_max: int, at_seconds: float) -> RecordBatch | None:
        """The oldest records that are not delivered yet, of one spool; None: there are none."""
        self._recover(at_seconds)
        for spool in (self._file, self._memory):
            if spool is None:
                continue
            try:
                records = spool.read_after(0, limit, bytes_max=bytes_max)
            except sqlite3.Error as error:
                self._failed(error, at_seconds)
                continue
            if records:
                return RecordBatch(spool.spool_id, tuple(records), spool.dropped)
        return None

    def forget_through(self, spool_id: str, sequence: int, at_seconds: float) -> None:
        """The control plane has these; an id of no spool here is ignored."""
        for spool in (self._file, self._memory):
            if spool is not None and spool.spool_id == spool_id:
                try:
                    spool.forget_through(sequence)
                except sqlite3.Error as error:
                    self._failed(error, at_seconds)

    def troubles(self) -> list[Trouble]:
        """What was found since the last call."""
        found, self._troubles = self._troubles, []
        return found

    def close(self) -> None:
        for spool in (self._file, self._memory):
            if spool is not None:
                spool.close()
        self._file = self._memory = None

    def _write(self, write: Callable[[SpoolFile], T], at_seconds: float) -> T:
        self._recover(at_seconds)
        for _ in range(2):  # a corrupt file is replaced at once, by one that may take the record
            if self._file is None or (self._retry_at_seconds is not None and at_seconds < self._retry_at_seconds):
                break
            try:
                done = write(self._file)
            except sqlite3.Error as error:
                self._failed(error, at_seconds)
            else:
                self._healed()
                return done
        if self._memory is None:
            age = self._limits.age_seconds_max
            self._memory = SpoolFile(None, age_seconds_max=age, bytes_max=min(MEMORY_BYTES_MAX, self._limits.bytes_max))
        return write(self._memory)

    def _recover(self, at_seconds: float) -> None:
        if self._file is not None or (self._retry_at_seconds is not None and at_seconds < self._retry_at_seconds):
            return
        try:
            self._file = self._opened()
        except (sqlite3.Error, OSError) as error:
            self._failed(error, at_seconds)

    def _opened(self) -> SpoolFile:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)  # tenants' names are in it
        return SpoolFile(self._path, age_seconds_max=self._limits.age_seconds_max, bytes_max=self._limits.bytes_max)

    def _failed(self, error: sqlite3.Error | OSError, at_seconds: float) -> None:
        first, self._retry_at_seconds = self._retry_at_seconds is None, at_seconds + RETRY_SECONDS
        if _is_full(error):
            if first:
                text = (
                    f"no space for records in {self._path.parent}: they are kept in memory, and lost if the agent ends"
                )
                self._tell("spool_full", text, "free space on the disk of the agent's state directory")
            return
        if self._file is not None:
            self._file.close()
            self._file = None
        if _is_corrupt(error):
            self._move_aside(error, at_seconds)
        elif first:
            text = (
                f"records cannot be kept in {self._path} ({error}): they are kept in memory, and lost if the agent ends"
            )
            self._tell("spool_broken", text, "check the disk, and that the agent may write to its state directory")

    def _move_aside(self, error: Exception, at_seconds: float) -> None:
        """A file that is none is kept for whoever wants to look, and a new one is begun."""
        aside = self._path.with_name(f"{self._path.name}.broken")
        try:
            for suffix in _SUFFIXES:
                part = self._path.with_name(self._path.name + suffix)
                if part.exists():
                    part.replace(aside.with_name(aside.name + suffix))
            self._file = self._opened()
        except (sqlite3.Error, OSError) as problem:
            text = f"the spool of records is damaged ({error}) and cannot be replaced ({problem}): records are kept in memory"
            self._tell("spool_broken", text, f"remove {self._path}")
            return
        self._retry_at_seconds = None
        text = f"the spool of records was damaged ({error}): what it held is lost, a new one was begun"
        self._tell("spool_broken", text, f"check the disk; the damaged file is {aside}")

    def _healed(self) -> None:
        if self._retry_at_seconds is not None:
            self._retry_at_seconds = None
            text = "records are kept on disk again"
            self._troubles.append(Trouble("spool_restored", text, Severity.INFO))

    def _tell(self, kind: str, message: str, action: str) -> None:
        self._troubles.append(Trouble(kind, message, Severity.ERROR, action))


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extension


def _is_full(error: Exception) -> bool:
    return _code(error) == sqlite3.SQLITE_FULL


def _is_corrupt(error: Exception) -> bool:
    """Of SQLite's own words, and of ours for a file of another release."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    missing = isinstance(error, sqlite3.OperationalError) and "no such" in str(error)
    ours = type(error) is sqlite3.DatabaseError and _code(error) == 0
    return missing or ours or _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
