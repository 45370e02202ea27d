"""Forget history that is older than it is to be kept. Woken by `jobs.scheduler` once an hour.

The audit is never forgotten. Each table is left to others after every so many rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from controlplane.storage.database import Database
from controlplane.storage.repositories.retention import HOURS, MINUTES, REQUESTS, SAMPLES, Kept

ROWS_AT_ONCE = 10_000
# A node that comes back later than this with the same spool begins it anew: what it kept is older than that anyway.
_SPOOL_RETENTION = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Keep:
    """How long what is kept; see the settings of `history`."""

    samples_hours: float
    minutes_days: float
    hours_days: float
    requests_hours: float
    events_days: float


async def run(database: Database, keep: Keep, now: datetime) -> str | None:
    """A sentence about what went. Raises UnavailableError when SQL is away."""
    went = {
        "samples": await _forget(database, SAMPLES, now - timedelta(hours=keep.samples_hours)),
        "requests": await _forget(database, REQUESTS, now - timedelta(hours=keep.requests_hours)),
        "minutes": await _forget(database, MINUTES, now - timedelta(days=keep.minutes_days)),
        "hours": await _forget(database, HOURS, now - timedelta(days=keep.hours_days)),
    }
    events, _, _ = await database.run_background(
        lambda uow: (
            uow.events.remove_before(now - timedelta(days=keep.events_days)),
            uow.tokens.purge_expired(now - timedelta(days=1)),
            uow.spool_positions.remove_before(now - _SPOOL_RETENTION),
        )
    )
    told = [f"{count} {what}" for what, count in {**went, "events": events}.items() if count]
    return f"forgot {', '.join(told)}" if told else None


async def _forget(database: Database, tables: Sequence[Kept], before: datetime) -> int:
    """How many rows were deleted; days that were dropped whole are not counted."""
    total = 0
    for kept in tables:
        went = ROWS_AT_ONCE
        while went == ROWS_AT_ONCE:
            went = await database.run_background(
                lambda uow, kept=kept: uow.retention.forget(kept, before, ROWS_AT_ONCE)  # type: ignore[misc]
            )
            total += went
    return total
