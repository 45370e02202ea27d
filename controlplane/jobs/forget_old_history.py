"""Delete history that is older than it is to be kept. Woken by `jobs.scheduler` once an hour."""

from datetime import datetime, timedelta

import structlog

from controlplane.storage.database import Database

log = structlog.get_logger(__name__)


async def run(database: Database, samples_days: float, events_days: float, now: datetime) -> None:
    """Remove samples, events and join tokens past their time. Raises UnavailableError when the database is away."""
    samples_before = now - timedelta(days=samples_days)
    events_before = now - timedelta(days=events_days)
    removed = await database.run(
        lambda uow: (
            uow.samples.remove_before(samples_before),
            uow.events.remove_before(events_before),
            uow.tokens.purge_expired(now - timedelta(days=1)),
        )
    )
    if any(removed):
        log.info("history_forgotten", samples=removed[0], events=removed[1], join_tokens=removed[2])
