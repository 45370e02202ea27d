"""Delete history that is older than it is to be kept. Woken by `jobs.scheduler` once an hour."""

from datetime import datetime, timedelta

import structlog

from controlplane.storage.database import Database

log = structlog.get_logger(__name__)

_REQUESTS_AT_ONCE = 10_000  # so that others get their turn between
# A node that comes back later than this with the same spool begins it anew: what it kept is older than that anyway.
_SPOOL_RETENTION = timedelta(days=90)


async def run(
    database: Database, samples_days: float, events_days: float, requests_hours: float, now: datetime
) -> None:
    """Remove samples, events, requests and join tokens past their time. Raises UnavailableError when SQL is away."""
    samples_before = now - timedelta(days=samples_days)
    events_before = now - timedelta(days=events_days)
    removed = await database.run(
        lambda uow: (
            uow.samples.remove_before(samples_before),
            uow.events.remove_before(events_before),
            uow.tokens.purge_expired(now - timedelta(days=1)),
            uow.spool_positions.remove_before(now - _SPOOL_RETENTION),
        )
    )
    requests = await _forget_requests(database, now - timedelta(hours=requests_hours))
    if requests or any(removed):
        log.info("history_forgotten", samples=removed[0], events=removed[1], join_tokens=removed[2], requests=requests)


async def _forget_requests(database: Database, before: datetime) -> int:
    total, went = 0, _REQUESTS_AT_ONCE
    while went == _REQUESTS_AT_ONCE:
        went = await database.run(lambda uow: uow.request_records.remove_before(before, _REQUESTS_AT_ONCE))
        total += went
    return total
