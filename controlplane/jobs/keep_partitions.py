"""Make the next days' partitions on PostgreSQL. Woken by `jobs.scheduler` when the daemon starts and once a day.

Rows of days that had none are moved into theirs. `forget_old_history` drops old ones. On SQLite there is nothing to do.
"""

from datetime import UTC, datetime

from controlplane.storage.database import Database

DAYS_AHEAD = 7


async def run(database: Database, now: datetime) -> str | None:
    """A sentence about what was made. Raises UnavailableError when SQL is away."""
    missing = await database.run_background(
        lambda uow: uow.retention.missing_days(now.astimezone(UTC).date(), DAYS_AHEAD)
    )
    moved = 0
    for table, day in missing:
        moved += await database.run_background(
            lambda uow, table=table, day=day: uow.retention.make_day(table, day)  # type: ignore[misc]
        )
    if not missing:
        return None
    return f"made {len(missing)} partitions" + (f", and moved {moved} rows into them" if moved else "")
