"""The event log on its way into SQL. `runtime.event_log` gives the numbers and adds; bootstrap spawns `run`."""

from controlplane.clock import Clock
from controlplane.fleet.history import FleetEvent
from controlplane.storage.batch_writer import BatchWriter
from controlplane.storage.database import Database


class EventWriter(BatchWriter[FleetEvent]):
    """See BatchWriter. Events must come numbered; one whose number is there already is not written again."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        flush_seconds: float = 1.0,
        batch_max: int = 200,
        buffer_max: int = 20_000,
    ) -> None:
        super().__init__(
            "events",
            lambda uow, events: uow.events.append(events),
            database,
            clock,
            flush_seconds,
            batch_max,
            buffer_max,
        )
