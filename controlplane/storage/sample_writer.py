"""Engines' samples on their way into SQL. `services.record_history` adds, bootstrap spawns `run`."""

from controlplane.clock import Clock
from controlplane.fleet.history import EngineSample
from controlplane.storage.batch_writer import BatchWriter
from controlplane.storage.database import Database


class SampleWriter(BatchWriter[EngineSample]):
    """See BatchWriter. A sample that is there already (engine, instance, time) is not written again."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        flush_seconds: float = 1.0,
        batch_max: int = 1_000,
        buffer_max: int = 100_000,
    ) -> None:
        super().__init__(
            "samples",
            lambda uow, samples: uow.samples.append_many(samples),
            database,
            clock,
            flush_seconds,
            batch_max,
            buffer_max,
        )
