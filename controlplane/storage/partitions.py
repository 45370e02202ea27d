"""PostgreSQL's partitions, one a day, of samples and minutes. Called by `repositories.retention`.

They are in a schema of their own. Each table has a default partition, so that no row is refused when a day has none yet; what is
in there is moved when its day gets one. SQLite has none of this.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, text

from controlplane.storage.tables import metadata

SCHEMA = "stoker_partitions"
_DAY = timedelta(days=1)
# A long question of somebody else must not hold up all writing behind us: the next run tries again.
_LOCK_SECONDS_MAX = 3


@dataclass(frozen=True, slots=True)
class Partitioned:
    table: str
    column: str

    @property
    def default(self) -> str:
        return f"{SCHEMA}.{self.table}_default"

    def of_day(self, day: date) -> str:
        return f"{SCHEMA}.{self.table}_{day:%Y_%m_%d}"


def partitioned() -> tuple[Partitioned, ...]:
    """The tables that are partitioned on PostgreSQL."""
    by = {table.name: table.dialect_options["postgresql"]["partition_by"] for table in metadata.sorted_tables}
    return tuple(
        Partitioned(name, str(rule).removeprefix("RANGE (").removesuffix(")")) for name, rule in by.items() if rule
    )


def days(connection: Connection, table: Partitioned) -> list[date]:
    """The days that have a partition."""
    _careful(connection)
    found = connection.execute(
        text(
            "SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid "
            "WHERE pg_inherits.inhparent = CAST(:parent AS regclass)"
        ),
        {"parent": table.table},
    )
    names = [str(name).removeprefix(f"{table.table}_") for name in found.scalars()]
    return sorted(datetime.strptime(name, "%Y_%m_%d").replace(tzinfo=UTC).date() for name in names if name != "default")


def create_day(connection: Connection, table: Partitioned, day: date) -> int:
    """Make the partition, with the day's rows of the default partition. How many those were."""
    _careful(connection)
    bounds = {"since": _midnight(day), "until": _midnight(day) + _DAY}
    mine = f"{table.column} >= :since AND {table.column} < :until"
    waiting = connection.scalar(text(f"SELECT EXISTS (SELECT 1 FROM {table.default} WHERE {mine})"), bounds)  # noqa: S608
    name, limits = table.of_day(day), f"FOR VALUES FROM ('{_sql(bounds['since'])}') TO ('{_sql(bounds['until'])}')"
    if not waiting:
        connection.execute(text(f"CREATE TABLE {name} PARTITION OF {table.table} {limits}"))
        return 0
    connection.execute(text(f"CREATE TABLE {name} (LIKE {table.table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    moved = connection.execute(
        text(
            f"WITH moved AS (DELETE FROM {table.default} WHERE {mine} RETURNING *) "  # noqa: S608
            f"INSERT INTO {name} SELECT * FROM moved"
        ),
        bounds,
    )
    connection.execute(text(f"ALTER TABLE {table.table} ATTACH PARTITION {name} {limits}"))
    return moved.rowcount


def days_in_default(connection: Connection, table: Partitioned) -> list[date]:
    """The days of which the default partition has rows."""
    found = connection.execute(
        text(f"SELECT DISTINCT CAST({table.column} AT TIME ZONE 'UTC' AS date) FROM {table.default}")  # noqa: S608
    )
    return sorted(found.scalars())


def drop_before(connection: Connection, table: Partitioned, at: datetime) -> int:
    """Drop the days that ended before, and delete such rows of the default partition. How many partitions and rows went."""
    went = 0
    for day in days(connection, table):
        if _midnight(day) + _DAY <= at:
            connection.execute(text(f"DROP TABLE {table.of_day(day)}"))
            went += 1
    rows = connection.execute(text(f"DELETE FROM {table.default} WHERE {table.column} < :at"), {"at": at})  # noqa: S608
    return went + rows.rowcount


def _careful(connection: Connection) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS_MAX}s'"))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _sql(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}+00"
