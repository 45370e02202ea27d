"""Rows that are written in batches, kind by kind: what each is called, how it is written, how many may wait.

Bootstrap makes a writer of each kind for its database and spawns their `run`; services get only the `add` of theirs. See
BatchWriter: a row that is written twice does no harm with any of these.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from controlplane.clock import Clock
from controlplane.fleet.history import (
    AdmissionCount,
    AuditEntry,
    DeviceSample,
    EngineSample,
    FleetEvent,
    NodeSample,
    RecomputeSample,
)
from controlplane.fleet.jobs import JobRun
from controlplane.fleet.summaries import EngineSummary
from controlplane.storage.batch_writer import BatchWriter
from controlplane.storage.database import Database
from controlplane.storage.repositories.admission_counts import key as admission_key
from controlplane.storage.unit_of_work import UnitOfWork

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """One kind. `key`: a row makes those before it with the same key needless."""

    what: str  # for people
    write: Callable[[UnitOfWork, Sequence[T]], object]
    key: Callable[[T], Hashable] | None = None
    batch_max: int = 1_000
    buffer_max: int = 100_000

    def writer(
        self,
        database: Database,
        clock: Clock,
        flush_seconds: float = 1.0,
        *,
        batch_max: int | None = None,
        buffer_max: int | None = None,
    ) -> BatchWriter[T]:
        return BatchWriter(
            self.what,
            self.write,
            database,
            clock,
            flush_seconds,
            self.batch_max if batch_max is None else batch_max,
            self.buffer_max if buffer_max is None else buffer_max,
            self.key,
        )


SAMPLES: Rows[EngineSample] = Rows("samples", lambda uow, rows: uow.samples.append_many(rows))
DEVICE_SAMPLES: Rows[DeviceSample] = Rows("device samples", lambda uow, rows: uow.device_samples.append_many(rows))
NODE_SAMPLES: Rows[NodeSample] = Rows("node samples", lambda uow, rows: uow.node_samples.append_many(rows))
RECOMPUTE_SAMPLES: Rows[RecomputeSample] = Rows(
    "recompute bills", lambda uow, rows: uow.recompute_samples.append_many(rows)
)
SUMMARIES: Rows[EngineSummary] = Rows(
    "summaries",
    lambda uow, rows: uow.engine_summaries.put_many(rows),
    key=lambda row: row.engine_id,
    buffer_max=20_000,
)
ADMISSION_COUNTS: Rows[AdmissionCount] = Rows(
    "admission counts", lambda uow, rows: uow.admission_counts.put_many(rows), key=admission_key, buffer_max=50_000
)
EVENTS: Rows[FleetEvent] = Rows("events", lambda uow, rows: uow.events.append(rows), batch_max=200, buffer_max=20_000)
AUDIT_ENTRIES: Rows[AuditEntry] = Rows(
    "audit entries", lambda uow, rows: uow.audit.append_new(rows), batch_max=200, buffer_max=20_000
)
JOB_RUNS: Rows[JobRun] = Rows(
    "job runs", lambda uow, rows: uow.job_runs.put_many(rows), key=lambda row: row.name, batch_max=100, buffer_max=1_000
)


@dataclass(frozen=True, slots=True)
class HistoryWriters:
    """One writer of each kind, of one daemon."""

    samples: BatchWriter[EngineSample]
    devices: BatchWriter[DeviceSample]
    nodes: BatchWriter[NodeSample]
    bills: BatchWriter[RecomputeSample]
    summaries: BatchWriter[EngineSummary]
    admission: BatchWriter[AdmissionCount]
    audit: BatchWriter[AuditEntry]
    jobs: BatchWriter[JobRun]
    events: BatchWriter[FleetEvent]

    @classmethod
    def of(
        cls, database: Database, clock: Clock, flush_seconds: float = 1.0, buffer_max: int | None = None
    ) -> "HistoryWriters":
        """`buffer_max`: of each kind of sample; None: as usual."""
        return cls(
            SAMPLES.writer(database, clock, flush_seconds, buffer_max=buffer_max),
            DEVICE_SAMPLES.writer(database, clock, flush_seconds, buffer_max=buffer_max),
            NODE_SAMPLES.writer(database, clock, flush_seconds, buffer_max=buffer_max),
            RECOMPUTE_SAMPLES.writer(database, clock, flush_seconds, buffer_max=buffer_max),
            SUMMARIES.writer(database, clock, flush_seconds),
            ADMISSION_COUNTS.writer(database, clock, flush_seconds),
            AUDIT_ENTRIES.writer(database, clock, flush_seconds),
            JOB_RUNS.writer(database, clock, flush_seconds),
            EVENTS.writer(database, clock, flush_seconds),
        )

    @property
    def but_events(self) -> "tuple[BatchWriter[Any], ...]":
        return (
            self.samples,
            self.devices,
            self.nodes,
            self.bills,
            self.summaries,
            self.admission,
            self.audit,
            self.jobs,
        )

    @property
    def all(self) -> "tuple[BatchWriter[Any], ...]":
        return (*self.but_events, self.events)
