"""Forgetting what is older than it is to be kept, and making room for what comes. Called by jobs.

Nothing is forgotten that is not rolled up: neither samples whose minutes are not computed, nor minutes whose hours are not. On
PostgreSQL whole days are dropped where a table is partitioned; otherwise rows are deleted, so many at a time.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, delete, select, tuple_

from controlplane.storage import partitions
from controlplane.storage.rollups import marks
from controlplane.storage.rollups.positions import hour_of, position, put
from controlplane.storage.tables import metadata

# Counters are told from the samples before: so much longer than promised they are there.
_SAMPLES_MARGIN = timedelta(hours=1)
_HOURS_OF = {"latency": marks.REQUEST_HOURS, "request": marks.REQUEST_HOURS}
_FORGOTTEN = {source: kind for kind, source in marks.SOURCES.items()}


@dataclass(frozen=True, slots=True)
class Kept:
    """A table of which the rows of before some time go."""

    table: str
    column: str


SAMPLES = (
    Kept("engine_samples", "sampled_at"),
    Kept("device_samples", "sampled_at"),
    Kept("node_samples", "sampled_at"),
    Kept("recompute_samples", "sampled_at"),
)
REQUESTS = (Kept("request_records", "finished_at"),)
MINUTES = (
    *(Kept(f"rolled_{what}_minutes", "minute_at") for what in ("engine", "device", "node", "request", "latency")),
    Kept("admission_counts", "minute_at"),
    Kept("process_totals", "last_sampled_at"),  # a process that is silent for longer counts as a new one
    Kept("recompute_totals", "last_sampled_at"),
)
HOURS = tuple(Kept(f"rolled_{what}_hours", "hour_at") for what in ("engine", "device", "node", "request", "latency"))


class Retention:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def forget(self, kept: Kept, before: datetime, limit: int) -> int:
        """Remove rows of before, `limit` at most; fewer went: there are no more. What is before counts as gone at once."""
        until = self._rolled_until(kept, before)
        if until is None:
            return 0
        if kept.table in _FORGOTTEN or kept.table.endswith("_minutes"):
            known = position(self._connection, kept.table)
            if known is None or known.done_until < until:
                put(self._connection, kept.table, until)
        if kept in SAMPLES:
            until -= _SAMPLES_MARGIN
        by_day = self._by_day(kept.table)
        if by_day is not None:
            partitions.drop_before(self._connection, by_day, until)
            return 0
        table = metadata.tables[kept.table]
        keys, at = tuple(table.primary_key), table.c[kept.column]
        old = select(*keys).where(at < until).order_by(at).limit(limit)
        return self._connection.execute(delete(table).where(tuple_(*keys).in_(old))).rowcount

    def missing_days(self, today: date, ahead: int) -> list[tuple[str, date]]:
        """Tables and days that need a partition: from today on, and those whose rows are in the default one."""
        missing = []
        for table in partitions.partitioned() if self._on_postgresql else ():
            wanted = {today + timedelta(days=number) for number in range(ahead + 1)}
            wanted.update(partitions.days_in_default(self._connection, table))
            missing += [(table.table, day) for day in sorted(wanted - set(partitions.days(self._connection, table)))]
        return missing

    def make_day(self, table: str, day: date) -> int:
        """Make a day's partition. How many rows moved into it."""
        [found] = [each for each in partitions.partitioned() if each.table == table]
        return partitions.create_day(self._connection, found, day)

    @property
    def _on_postgresql(self) -> bool:
        return self._connection.dialect.name == "postgresql"

    def _by_day(self, table: str) -> partitions.Partitioned | None:
        found = [each for each in partitions.partitioned() if each.table == table]
        return found[0] if found and self._on_postgresql else None

    def _rolled_until(self, kept: Kept, before: datetime) -> datetime | None:
        """At most until `before`, and not beyond what is rolled up, on the hour. None: nothing is."""
        kinds = []
        if kept.table in _FORGOTTEN:
            kinds.append(_FORGOTTEN[kept.table])
        elif kept.table.endswith("_minutes"):
            what = kept.table.removeprefix("rolled_").removesuffix("_minutes")
            kinds.append(_HOURS_OF.get(what, f"{what}_hours"))
        until = hour_of(before)
        for kind in kinds:
            known, marked = position(self._connection, kind), marks.first(self._connection, kind)
            if known is None:
                return None
            until = min(until, hour_of(known.done_until), hour_of(marked) if marked else until)
        return until
