"""At start: load desired state, the last known engines and the newest events from SQL, so that we serve at once.

Called by `bootstrap` before anything listens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.desired import Desired
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.summaries import EngineSummary
from controlplane.runtime.event_log import RECENT_MAX
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork, load_desired


@dataclass(frozen=True, slots=True)
class Remembered:
    desired: Desired
    summaries: tuple[EngineSummary, ...]
    events: tuple[FleetEvent, ...]  # oldest first
    last_event_id: int
    revoked_key_ids: frozenset[str]
    operator_serials: Mapping[str, str]


async def restore_fleet(database: Database, now: datetime) -> Remembered:
    """All that a starting daemon must know. Raises UnavailableError when the database is away."""

    def load(uow: UnitOfWork) -> Remembered:
        return Remembered(
            load_desired(uow),
            tuple(uow.engine_summaries.all()),
            tuple(uow.events.latest(RECENT_MAX)),
            uow.events.last_id(),
            uow.keys.revoked_ids(now),
            uow.operators.serials(),
        )

    return await database.run(load, seconds_max=None)
