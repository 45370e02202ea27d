"""Views for people who ask in SQL. Their columns are a promise: see docs/history.md.

Used by tests, to compare with what `migrations` created (a migration keeps its own frozen copy). The text is the same
on both databases except for arithmetic with times.
"""

from sqlalchemy import Connection

from controlplane.storage.tables.history import COUNTERS, GAUGES

_SECONDS_BETWEEN = {
    # Milliseconds are what SQLite's julian days still hold.
    "sqlite": "ROUND((julianday(sampled_at) - julianday(since_at)) * 86400, 3)",
    "postgresql": "ROUND(CAST(EXTRACT(EPOCH FROM sampled_at - since_at) AS numeric), 3)",
}


def engine_intervals(dialect: str) -> str:
    """What each sample adds: one row per sample, with its counters as differences within its process."""
    process = "(PARTITION BY engine_id, instance_id ORDER BY sampled_at"
    seen = [f"  LAG(sampled_at) OVER {process}) AS since_at"]
    added = []
    for counter in COUNTERS:
        seen.append(
            f"  MAX({counter}) OVER {process} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS {counter}_seen"
        )
        before = f"COALESCE({counter}_seen, 0)"
        added.append(
            f"  CASE WHEN {counter} IS NULL THEN NULL WHEN {counter} > {before}\n"
            f"    THEN {counter} - {before} ELSE 0 END AS {counter.removesuffix('_total')}"
        )
    columns = [
        "  engine_id, instance_id, node, provider, region, model, state, since_at",
        "  sampled_at AS until_at",
        f"  {_SECONDS_BETWEEN[dialect]} AS interval_seconds",
        *(f"  {name}" for name in GAUGES),
        "  CASE WHEN kv_capacity_tokens > 0 THEN kv_used_tokens * 1.0 / kv_capacity_tokens END AS kv_used_ratio",
        *added,
    ]
    samples = "SELECT *,\n" + ",\n".join(seen) + "\nFROM engine_samples"
    return "SELECT\n" + ",\n".join(columns) + f"\nFROM (\n{samples}\n) AS readings"


VIEWS = {"engine_intervals": engine_intervals}


def create_all(connection: Connection) -> None:
    """Create every view, as a fresh database of this release has them."""
    for name, definition in VIEWS.items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {definition(connection.dialect.name)}")
