"""Samples of devices, nodes and recompute bills; engines' summaries tell their gauges; what became of requests, by minute.

On PostgreSQL samples are partitioned by day. The partitions are in a schema of their own; rows of a day that has none are in a
default partition.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "2026_11_24_history"
down_revision: str | None = "2026_11_24_job_runs"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Frozen: the names, types and rules of this day, whatever the code says later.
TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
PARTITIONS = "stoker_partitions"

GAUGES = ("kv_capacity_tokens", "kv_used_tokens", "running_count", "waiting_count", "inflight_count")
WHOLE_COUNTERS = (
    *("prompt_tokens_total", "generation_tokens_total", "steps_total", "step_tokens_total"),
    *("prefix_query_tokens_total", "prefix_hit_tokens_total", "preemptions_total", "requests_finished_total"),
    "ttft_count_total",
)
REAL_COUNTERS = ("flops_total", "bytes_total", "ttft_seconds_sum_total")
INSIDE_GAUGES = ("kv_headroom_tokens", "resident_chunks_count")
INSIDE_WHOLE_COUNTERS = (
    *("inside_steps_total", "inside_running_total", "prefill_tokens_total", "decode_tokens_total"),
    "recompute_tokens_total",
)
INSIDE_REAL_COUNTERS = ("busy_seconds_total", "recompute_flops_total", "recompute_seconds_total")
ALL_GAUGES = (*GAUGES, *INSIDE_GAUGES)
ALL_WHOLE_COUNTERS = (*WHOLE_COUNTERS, *INSIDE_WHOLE_COUNTERS)
ALL_REAL_COUNTERS = (*REAL_COUNTERS, *INSIDE_REAL_COUNTERS)
SUMMARY_COUNTS = (
    "devices_count",
    "kv_used_tokens",
    "running_count",
    "waiting_count",
    "inflight_count",
    "kv_headroom_tokens",
)
SUMMARY_REALS = (
    *("generation_tokens_per_second", "batch_tokens_per_step", "intensity_flops_per_byte", "ridge_flops_per_byte"),
    *("prefix_hit_ratio", "ttft_seconds_p50", "ttft_seconds_p95"),
)
SUMMARY_TEXTS = ("provider", "region")


def _texts(*names: str) -> "list[sa.Column[Any]]":
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _truths(*names: str) -> "list[sa.Column[Any]]":
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def _counts(*names: str) -> "list[sa.Column[Any]]":
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _whole(*names: str) -> "list[sa.Column[Any]]":
    return [sa.Column(name, sa.BigInteger()) for name in names]


def _real(*names: str) -> "list[sa.Column[Any]]":
    return [sa.Column(name, sa.Float(53)) for name in names]


def _times(*names: str) -> "list[sa.Column[Any]]":
    return [sa.Column(name, TIME, nullable=False) for name in names]


def _create(
    table: str,
    key: Sequence[str],
    *columns: "sa.Column[Any]",
    not_negative: Sequence[str] = (),
    not_empty: Sequence[str] = (),
    index: Sequence[str] = (),
    partitioned_by: str = "",
) -> None:
    options: dict[str, Any] = {"postgresql_partition_by": f"RANGE ({partitioned_by})"} if partitioned_by else {}
    checks = {f"{name}_not_empty": f"{name} <> ''" for name in not_empty}
    checks |= {f"{name}_not_negative": f"{name} >= 0" for name in not_negative}
    op.create_table(
        table,
        *columns,
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
        *(sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in checks.items()),
        **options,
    )
    if index:
        op.create_index(op.f(f"ix_{table}_{'_'.join(index)}"), table, list(index))
    if partitioned_by and _on_postgresql():
        op.execute(f"CREATE TABLE {PARTITIONS}.{table}_default PARTITION OF {table} DEFAULT")


def _on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def upgrade() -> None:
    if _on_postgresql():
        op.execute("SET LOCAL statement_timeout = 0")  # as long as there are rows to copy
        op.execute(f"CREATE SCHEMA IF NOT EXISTS {PARTITIONS}")
    op.execute("DROP VIEW engine_intervals")
    if _on_postgresql():
        _rebuild_engine_samples(partitioned=True)
    else:
        for name, kind in (("covers_seconds", "FLOAT"), ("devices_count", "BIGINT")):
            check = f"CONSTRAINT ck_engine_samples_{name}_not_negative CHECK ({name} >= 0)"
            op.execute(f"ALTER TABLE engine_samples ADD COLUMN {name} {kind} {check}")
    op.execute(_engine_intervals())
    _widen_summaries()
    op.drop_index(op.f("ix_request_records_finished_at"), "request_records")
    op.create_index(op.f("ix_request_records_finished_at_engine_id"), "request_records", ["finished_at", "engine_id"])
    _create_samples()
    _create_admission()


def downgrade() -> None:
    for table in ("admission_counts", "recompute_samples", "node_samples", "device_samples"):
        op.drop_table(table)
    op.drop_index(op.f("ix_request_records_finished_at_engine_id"), "request_records")
    op.create_index(op.f("ix_request_records_finished_at"), "request_records", ["finished_at"])
    with op.batch_alter_table("engine_summaries") as batch:
        for name in (*SUMMARY_TEXTS, *SUMMARY_COUNTS, *SUMMARY_REALS):
            batch.drop_column(name)
    op.execute("DROP VIEW engine_intervals")
    if _on_postgresql():
        op.execute("SET LOCAL statement_timeout = 0")
        _rebuild_engine_samples(partitioned=False)
        op.execute(f"DROP SCHEMA {PARTITIONS} CASCADE")
    else:
        for name in ("covers_seconds", "devices_count"):
            op.execute(f"ALTER TABLE engine_samples DROP COLUMN {name}")
    op.execute(_engine_intervals())


def _rebuild_engine_samples(partitioned: bool) -> None:
    """PostgreSQL partitions a table only from its creation: another takes its rows. Those of before cover no known time."""
    op.execute(f"ALTER TABLE engine_samples SET SCHEMA {PARTITIONS}")
    added = ("covers_seconds", "devices_count") if partitioned else ()
    numbers = (*ALL_GAUGES, *ALL_WHOLE_COUNTERS, *ALL_REAL_COUNTERS)
    _create(
        "engine_samples",
        ("engine_id", "instance_id", "sampled_at"),
        *_texts("engine_id", "instance_id"),
        *_times("sampled_at"),
        *_texts("node", "provider", "region", "model", "state"),
        *_whole(*GAUGES, *WHOLE_COUNTERS),
        *_real(*REAL_COUNTERS),
        *_whole(*INSIDE_GAUGES, *INSIDE_WHOLE_COUNTERS),
        *_real(*INSIDE_REAL_COUNTERS, *added[:1]),
        *_whole(*added[1:]),
        not_negative=(*numbers, *added),
        partitioned_by="sampled_at" if partitioned else "",
    )
    names = ", ".join(("engine_id, instance_id, sampled_at, node, provider, region, model, state", *numbers))
    copied = f"SELECT {names} FROM {PARTITIONS}.engine_samples"  # noqa: S608 (names of ours)
    op.execute(f"INSERT INTO engine_samples ({names}) {copied}")
    op.execute(f"DROP TABLE {PARTITIONS}.engine_samples")
    op.create_index(op.f("ix_engine_samples_sampled_at"), "engine_samples", ["sampled_at"])


def _widen_summaries() -> None:
    """The defaults fill the rows that are there, and then go."""
    with op.batch_alter_table("engine_summaries") as batch:
        for name in SUMMARY_TEXTS:
            batch.add_column(sa.Column(name, sa.Text(), nullable=False, server_default=""))
        for column in (*_whole(*SUMMARY_COUNTS), *_real(*SUMMARY_REALS)):
            batch.add_column(column)
    for name in SUMMARY_TEXTS:
        known = f"SELECT {name} FROM nodes WHERE nodes.name = engine_summaries.node"  # noqa: S608 (names of ours)
        op.execute(f"UPDATE engine_summaries SET {name} = COALESCE(({known}), '')")  # noqa: S608
    with op.batch_alter_table("engine_summaries") as batch:
        for name in SUMMARY_TEXTS:
            batch.alter_column(name, existing_type=sa.Text(), existing_nullable=False, server_default=None)


def _create_samples() -> None:
    placement = ("provider", "region", "device_kind", "engine_id", "model")
    device_bytes: tuple[str, ...] = ("memory_total_bytes", "memory_used_bytes", "weights_bytes", "kv_cache_bytes")
    device_bytes = (*device_bytes, "activations_bytes", "other_bytes", "free_bytes")
    _create(
        "device_samples",
        ("node", "device_id", "sampled_at"),
        *_texts("node", "device_id"),
        *_times("sampled_at"),
        *_texts(*placement),
        *_truths("engine_ready"),
        *_real("covers_seconds"),
        *_whole(*device_bytes),
        *_real("power_watts", "temperature_celsius", "compute_clock_hertz"),
        sa.Column("throttled", sa.Boolean()),
        *_whole("faults_count"),
        not_negative=("covers_seconds", *device_bytes, "power_watts", "faults_count"),
        index=("sampled_at",),
        partitioned_by="sampled_at",
    )
    node_counts = ("devices_count", "placed_devices_count", "engines_count", "ready_engines_count")
    _create(
        "node_samples",
        ("node", "sampled_at"),
        *_texts("node"),
        *_times("sampled_at"),
        *_texts("provider", "region"),
        *_truths("connected"),
        *_texts("trust"),
        *_truths("cordoned", "simulated"),
        *_texts("agent_version"),
        *_real("covers_seconds"),
        *_whole(*node_counts),
        *_real("clock_error_seconds"),
        not_negative=("covers_seconds", *node_counts),
        index=("sampled_at",),
        partitioned_by="sampled_at",
    )
    _create(
        "recompute_samples",
        ("engine_id", "instance_id", "tenant", "sampled_at"),
        *_texts("engine_id", "instance_id", "tenant"),
        *_times("sampled_at"),
        *_texts("node", "provider", "region", "model"),
        *_counts("tokens_total"),
        *_real("flops_total", "seconds_total"),
        not_empty=("engine_id",),
        not_negative=("tokens_total", "flops_total", "seconds_total"),
        index=("sampled_at",),
        partitioned_by="sampled_at",
    )


def _create_admission() -> None:
    counts = ("offered_count", "admitted_count", "refused_count", "left_count", "completed_count", "failed_count")
    _create(
        "admission_counts",
        ("minute_at", "boot_id", "tenant", "model", "reason"),
        *_times("minute_at"),
        *_texts("boot_id", "tenant", "model", "reason"),
        *_counts(*counts),
        *_real("queue_seconds_sum", "first_byte_seconds_sum"),
        *_whole("first_byte_count"),
        not_empty=("boot_id",),
        not_negative=counts,
    )


def _engine_intervals() -> str:
    """What each sample adds to its process's counters, as it was: the new columns are not in it."""
    process = "(PARTITION BY engine_id, instance_id ORDER BY sampled_at"
    seen = [f"  LAG(sampled_at) OVER {process}) AS since_at"]
    added = []
    for name in (*WHOLE_COUNTERS, *INSIDE_WHOLE_COUNTERS, *REAL_COUNTERS, *INSIDE_REAL_COUNTERS):
        seen.append(f"  MAX({name}) OVER {process} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS {name}_seen")
        before = f"COALESCE({name}_seen, 0)"
        added.append(
            f"  CASE WHEN {name} IS NULL THEN NULL WHEN {name} > {before}\n"
            f"    THEN {name} - {before} ELSE 0 END AS {name.removesuffix('_total')}"
        )
    seconds = {
        "sqlite": "ROUND((julianday(sampled_at) - julianday(since_at)) * 86400, 3)",
        "postgresql": "ROUND(CAST(EXTRACT(EPOCH FROM sampled_at - since_at) AS numeric), 3)",
    }[op.get_bind().dialect.name]
    columns = [
        "  engine_id, instance_id, node, provider, region, model, state, since_at",
        "  sampled_at AS until_at",
        f"  {seconds} AS interval_seconds",
        *(f"  {name}" for name in ALL_GAUGES),
        "  CASE WHEN kv_capacity_tokens > 0 THEN kv_used_tokens * 1.0 / kv_capacity_tokens END AS kv_used_ratio",
        *added,
    ]
    samples = "SELECT *,\n" + ",\n".join(seen) + "\nFROM engine_samples"
    return "CREATE VIEW engine_intervals AS SELECT\n" + ",\n".join(columns) + f"\nFROM (\n{samples}\n) AS readings"
