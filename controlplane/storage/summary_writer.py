"""The last known engines on their way into SQL. `services.record_history` adds; bootstrap spawns `run`."""

from controlplane.clock import Clock
from controlplane.fleet.summaries import EngineSummary
from controlplane.storage.batch_writer import BatchWriter
from controlplane.storage.database import Database


class SummaryWriter(BatchWriter[EngineSummary]):
    """See BatchWriter. Written in the order of adding, so the last summary of an engine stays."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        flush_seconds: float = 1.0,
        batch_max: int = 1_000,
        buffer_max: int = 20_000,
    ) -> None:
        super().__init__(
            "summaries",
            lambda uow, summaries: uow.engine_summaries.put_many(summaries),
            database,
            clock,
            flush_seconds,
            batch_max,
            buffer_max,
        )
