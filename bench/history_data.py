"""Years of history in a minute: rows of busy engines, made inside the database by SQL. Used by `bench.history` only.

Rows are inserted in the order of time, as the daemon writes them, so that tables and indexes become what they become in
production. Every column that a busy engine fills is filled; counters grow. Engines are `model-K@node-N.D`, K = their number
modulo how many models there are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Connection, Engine, Float, Table, text

from controlplane.storage import engines, partitions
from controlplane.storage.database_url import parse_url
from controlplane.storage.tables import metadata
from controlplane.storage.tables.history import COUNTERS, REAL_COUNTERS

SAMPLE_SECONDS = 10
_CHUNK_ROWS = 300_000
_SEEDING_CACHE_KIB = 1_500_000  # of seeding only, on SQLite
_INSTANCE = "'0123456789abcdef0123456789' || CAST(100000 + e AS TEXT)"  # as long as a real one
# By a reading's place in its row (e: the engine's number, t: how many intervals ago its process began).
_GAUGES = {
    "kv_capacity_tokens": "1000000",
    "kv_used_tokens": "400000 + (e * 37 + t * 991) % 500000",
    "running_count": "20 + (e + t) % 30",
    "waiting_count": "(e + t) % 4",
    "inflight_count": "20 + (e + t) % 33",
    "kv_headroom_tokens": "60000 + (e + t) % 1000",
    "resident_chunks_count": "3000 + (e + t) % 500",
    "devices_count": "1",
    "covers_seconds": "10.0",
}


@dataclass(frozen=True, slots=True)
class Seed:
    """Opened for seeding only: what is measured goes through connections of its own."""

    engine: Engine
    url: str

    @property
    def on_postgresql(self) -> bool:
        return self.engine.dialect.name == "postgresql"


@contextmanager
def seeding(url: str) -> Iterator[Seed]:
    """On SQLite without waiting for the disk: a benchmark's database needs to outlive no crash while it is filled."""
    engine = engines.create(parse_url(url))
    seed = Seed(engine, url)
    try:
        if not seed.on_postgresql:
            with engine.connect() as connection:
                raw = connection.connection.cursor()
                raw.execute("PRAGMA synchronous = OFF")
                raw.execute(f"PRAGMA cache_size = -{_SEEDING_CACHE_KIB}")
        yield seed
    finally:
        engine.dispose()


def make_days(seed: Seed, since: datetime, until: datetime) -> None:
    """Partitions on PostgreSQL, as the daemon makes them ahead of time."""
    if not seed.on_postgresql:
        return
    wanted = {(since + timedelta(days=number)).date() for number in range((until.date() - since.date()).days + 1)}
    with seed.engine.begin() as connection:
        for table in partitions.partitioned():
            for day in sorted(wanted - set(partitions.days(connection, table))):
                partitions.create_day(connection, table, day)


def seed_samples(seed: Seed, since: datetime, until: datetime, engines_count: int, models: int) -> int:
    """A sample of every engine every ten seconds. How many rows there are."""
    table = metadata.tables["engine_samples"]
    values = {
        **_names(models),
        "instance_id": _INSTANCE,
        "sampled_at": _at(seed, f"CAST(:since_epoch + t * {SAMPLE_SECONDS} AS DOUBLE PRECISION) + (e % 1000) * 0.01"),
        "state": "'ready'",
        **_GAUGES,
        **{counter: _total(counter) for counter in COUNTERS},
    }
    ticks = round((until - since).total_seconds() / SAMPLE_SECONDS)
    return _insert(seed, table, values, since, ticks, engines_count)


def seed_buckets(seed: Seed, table_name: str, since: datetime, until: datetime, engines_count: int, models: int) -> int:
    """A minute or an hour of every engine. How many rows there are."""
    table = metadata.tables[table_name]
    at, seconds = ("minute_at", 60) if "minute_at" in table.columns else ("hour_at", 3600)
    values = {
        **_names(models),
        at: _at(seed, f"CAST(:since_epoch + t * {seconds} AS DOUBLE PRECISION)"),
        "state": "'ready'",
    }
    for column in table.columns:
        if column.name not in values:
            grown = f"({1 + sum(map(ord, column.name)) % 50} + (e * 7 + t * 13) % 97)"
            values[column.name] = f"{grown} * {seconds}" + (".25" if isinstance(column.type, Float) else "")
    values |= dict.fromkeys(("covered_seconds", "ready_seconds", "device_seconds"), f"{seconds}.0")
    values |= {"samples_count": str(seconds // SAMPLE_SECONDS), "processes_count": "1"}
    values |= dict.fromkeys(("kv_used_ratio_mean", "kv_used_ratio_max"), "((e * 7 + t * 13) % 97) / 100.0")
    return _insert(seed, table, values, since, round((until - since).total_seconds() / seconds), engines_count)


def seed_fleet(seed: Seed, now: datetime, engines_count: int, models: int) -> None:
    """Nodes, deployments, placements and the summaries of all engines, reported a moment ago."""
    at = _at(seed, "CAST(:since_epoch AS DOUBLE PRECISION)")
    no_list = "CAST('[]' AS JSONB)" if seed.on_postgresql else "'[]'"
    no = "false" if seed.on_postgresql else "0"
    named = _names(models)
    node = {
        "name": "'node-' || CAST(10000 + e AS TEXT)",
        "provider": named["provider"],
        "region": named["region"],
        "zone": "''",
        "labels": no_list.replace("[]", "{}"),
        "enrolled_at": at,
        "identity_serial": "'0123456789abcdef'",
        "advertised_hosts": no_list,
        "cordoned": no,
        "cordon_reason": "''",
        "simulator": no,
        "simulated_by": "''",
    }
    model = "'model-' || CAST(100 + e AS TEXT)"
    deployment = {"name": model, "model": model, "source": "'/models/' || e", "engine_args": no_list}
    placement = {
        "placement_id": named["engine_id"],
        "deployment": named["model"],
        "node": named["node"],
        "generation": "1",
        "desired": "'running'",
        "device_ids": no_list,
        "created_at": at,
        "created_by": "'bench'",
        "adapters": no_list,
    }
    summaries = metadata.tables["engine_summaries"]
    summary = {
        **named,
        "generation": "1",
        "instance_id": _INSTANCE,
        "state": "'ready'",
        "endpoint": "'10.0.0.1:' || CAST(8000 + e % 8 AS TEXT)",
        "last_report_at": at,
        "served_paths": no_list.replace("[]", '["/v1/completions"]'),
        "dtype": "'bfloat16'",
        "context_tokens_max": "131072",
        **{name: _GAUGES[name] for name in _GAUGES if name in summaries.columns},
    }
    for column in summaries.columns:
        if column.name not in summary and isinstance(column.type, Float | BigInteger):
            summary[column.name] = "e % 97" + (" + 0.25" if isinstance(column.type, Float) else "")
    nodes_count = (engines_count + 7) // 8
    for name, values, count in (
        ("nodes", node, nodes_count),
        ("deployments", deployment, models),
        ("placements", placement, engines_count),
        ("engine_summaries", summary, engines_count),
    ):
        _insert(seed, metadata.tables[name], values, now, 1, count)


def analyze(seed: Seed) -> None:
    """As PostgreSQL does by itself some time after so many rows; SQLite is left as the daemon leaves it."""
    if seed.on_postgresql:
        with seed.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET statement_timeout TO 0"))
            connection.execute(text("VACUUM ANALYZE"))


def stored_bytes(seed: Seed, table_name: str) -> int:
    """What the table takes with its indexes: on SQLite all that the file takes, so look before and after."""
    with seed.engine.begin() as connection:
        if not seed.on_postgresql:
            used = "SELECT page_count - freelist_count FROM pragma_page_count(), pragma_freelist_count()"
            return _number(connection, used) * _number(connection, "PRAGMA page_size")
        parts = f"SELECT SUM(pg_total_relation_size(relid)) FROM pg_partition_tree('{table_name}')"  # noqa: S608
        return _number(connection, parts) or _number(connection, f"SELECT pg_total_relation_size('{table_name}')")


def _number(connection: Connection, statement: str) -> int:
    return int(connection.scalar(text(statement)) or 0)


def _names(models: int) -> dict[str, str]:
    node = "'node-' || CAST(10000 + e / 8 AS TEXT)"
    model = f"'model-' || CAST(100 + e % {models} AS TEXT)"
    return {
        "engine_id": f"{model} || '@' || {node} || '.' || CAST(e % 8 AS TEXT)",
        "node": node,
        "provider": "CASE e % 3 WHEN 0 THEN 'gcp' WHEN 1 THEN 'aws' ELSE 'lambda' END",
        "region": "CASE e % 2 WHEN 0 THEN 'us-east1' ELSE 'europe-west4' END",
        "model": model,
    }


def _at(seed: Seed, epoch: str) -> str:
    """Seconds since 1970 as the column keeps times."""
    if seed.on_postgresql:
        return f"to_timestamp({epoch})"
    return f"strftime('%Y-%m-%d %H:%M:%f', {epoch}, 'unixepoch') || '000'"


def _total(counter: str) -> str:
    """What a process that began a day before has counted."""
    rate = 5 + sum(map(ord, counter)) % 90
    grown = f"(8640 + t) * ({rate} + e % 50)"
    if counter in ("flops_total", "bytes_total", "recompute_flops_total"):
        return f"{grown} * 1.25e12"
    return f"{grown} * 0.01" if counter in REAL_COUNTERS else grown


def _insert(seed: Seed, table: Table, values: dict[str, str], since: datetime, ticks: int, count: int) -> int:
    """`count` rows a tick, in the order of time, so many ticks at once that a statement stays short."""
    names = [column.name for column in table.columns if column.name in values]
    step = max(1, _CHUNK_ROWS // count)
    statement = text(
        "WITH RECURSIVE "  # noqa: S608 - our own names and expressions
        "ticks(t) AS (SELECT CAST(:first AS BIGINT) UNION ALL SELECT t + 1 FROM ticks WHERE t + 1 < :past), "
        "numbers(e) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT e + 1 FROM numbers WHERE e + 1 < :count) "
        f"INSERT INTO {table.name} ({', '.join(names)}) "
        f"SELECT {', '.join(values[name] for name in names)} "
        "FROM (SELECT t, e FROM ticks CROSS JOIN numbers ORDER BY t, e) AS numbered"
    )
    epoch = int(since.astimezone(UTC).timestamp())
    for first in range(0, ticks, step):
        past = min(first + step, ticks)
        known = {"first": first, "past": past, "count": count, "since_epoch": epoch}
        with seed.engine.begin() as connection:
            connection.execute(statement, {k: v for k, v in known.items() if f":{k}" in statement.text})
    return ticks * count
