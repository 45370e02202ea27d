"""Minutes and hours of engines, devices, nodes and requests, and how far they are rolled up.

On SQLite their rows lie in the order of their keys. On PostgreSQL minutes are partitioned by day, as samples are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "2026_11_24_rollups"
down_revision: str | None = "2026_11_24_history"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Frozen: the names, types and rules of this day, whatever the code says later.
TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
PARTITIONS = "stoker_partitions"
BOUNDS_FROM, BOUNDS_PER_DOUBLING, BOUNDS_COUNT = 1e-4, 4, 102  # the last one is over an hour

WHOLE_COUNTERS = (
    *("prompt_tokens_total", "generation_tokens_total", "steps_total", "step_tokens_total"),
    *("prefix_query_tokens_total", "prefix_hit_tokens_total", "preemptions_total", "requests_finished_total"),
    "ttft_count_total",
)
REAL_COUNTERS = ("flops_total", "bytes_total", "ttft_seconds_sum_total")
INSIDE_WHOLE_COUNTERS = (
    *("inside_steps_total", "inside_running_total", "prefill_tokens_total", "decode_tokens_total"),
    "recompute_tokens_total",
)
INSIDE_REAL_COUNTERS = ("busy_seconds_total", "recompute_flops_total", "recompute_seconds_total")
ALL_WHOLE_COUNTERS = (*WHOLE_COUNTERS, *INSIDE_WHOLE_COUNTERS)
ALL_REAL_COUNTERS = (*REAL_COUNTERS, *INSIDE_REAL_COUNTERS)


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
    clustered: bool = True,
    partitioned_by: str = "",
) -> None:
    """`clustered`: on SQLite the rows lie in the order of their key."""
    options: dict[str, Any] = {"sqlite_with_rowid": False} if clustered else {}
    if partitioned_by:
        options["postgresql_partition_by"] = f"RANGE ({partitioned_by})"
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
    _create_engine_rollups()
    _create_device_and_node_rollups()
    _create_request_rollups()
    _create_bookkeeping()


def downgrade() -> None:
    for table in ("recompute_totals", "process_totals", "rollup_marks", "rollup_positions", "latency_buckets"):
        op.drop_table(table)
    for what in ("latency", "request", "node", "device", "engine"):
        op.drop_table(f"rolled_{what}_hours")
        op.drop_table(f"rolled_{what}_minutes")


def _create_rolled(what: str, names: Sequence[str], make_columns: "Callable[[], list[sa.Column[Any]]]") -> None:
    """Its minutes and its hours."""
    for unit in ("minute", "hour"):
        at, columns = f"{unit}_at", make_columns()
        _create(
            f"rolled_{what}_{unit}s",
            (*names, at) if unit == "minute" else (at, *names),
            *(_texts(*names) + _times(at) if unit == "minute" else _times(at) + _texts(*names)),
            *columns,
            not_empty=[name for name in names if name not in ("tenant", "model")],
            not_negative=[c.name for c in columns if not c.nullable and isinstance(c.type, sa.BigInteger)],
            index=(at,) if unit == "minute" else (names[0], at),
            partitioned_by=at if unit == "minute" else "",
        )


def _counted(counter: str) -> str:
    name = counter.removesuffix("_total")
    units = ("_tokens", "_seconds", "_sum", "_count", "flops", "bytes")
    return name if name.endswith(units) else f"{name}_count"


def _create_engine_rollups() -> None:
    _create_rolled(
        "engine",
        ("engine_id",),
        lambda: [
            *_texts("node", "provider", "region", "model", "state"),
            *_counts("samples_count", "processes_count"),
            *_real("covered_seconds", "ready_seconds", "device_seconds"),
            *_whole("kv_capacity_tokens"),
            *_real("kv_used_tokens_mean"),
            *_whole("kv_used_tokens_max"),
            *_real("kv_used_ratio_mean", "kv_used_ratio_max", "running_count_mean"),
            *_whole("running_count_max"),
            *_real("waiting_count_mean"),
            *_whole("waiting_count_max"),
            *_real("inflight_count_mean"),
            *_whole("inflight_count_max", "kv_headroom_tokens_min", "resident_chunks_count_max"),
            *_whole(*(_counted(name) for name in ALL_WHOLE_COUNTERS)),
            *_real(*(_counted(name) for name in ALL_REAL_COUNTERS)),
        ],
    )


def _create_device_and_node_rollups() -> None:
    _create_rolled(
        "device",
        ("node", "device_id"),
        lambda: [
            *_texts("provider", "region", "device_kind", "engine_id", "model"),
            *_counts("samples_count"),
            *_real("covered_seconds", "placed_seconds", "serving_seconds", "busy_seconds", "throttled_seconds"),
            *_whole("memory_total_bytes"),
            *_real("memory_used_bytes_mean"),
            *_whole("memory_used_bytes_max", "weights_bytes_max", "kv_cache_bytes_max", "free_bytes_min"),
            *_real("power_watts_mean", "power_watts_max", "energy_joules", "temperature_celsius_max"),
            *_whole("faults_count_max"),
        ],
    )
    _create_rolled(
        "node",
        ("node",),
        lambda: [
            *_texts("provider", "region", "trust", "agent_version"),
            *_truths("connected", "cordoned", "simulated"),
            *_counts("samples_count"),
            *_real(
                "covered_seconds", "connected_seconds", "cordoned_seconds", "device_seconds", "placed_device_seconds"
            ),
            *_whole("devices_count", "placed_devices_count", "engines_count", "ready_engines_count"),
            *_real("clock_error_seconds"),
        ],
    )


def _measured(measure: str) -> "list[sa.Column[Any]]":
    return [
        *_real(f"{measure}_seconds_sum"),
        *_whole(f"{measure}_count"),
        *_real(*(f"{measure}_seconds_{quantile}" for quantile in ("p50", "p90", "p99"))),
    ]


def _create_request_rollups() -> None:
    _create_rolled(
        "request",
        ("engine_id", "tenant", "model"),
        lambda: [
            *_texts("node", "provider", "region"),
            *_counts(
                "requests_count", "completed_count", "aborted_count", "refused_count", "failed_count", "unknown_count"
            ),
            *_whole("prompt_tokens", "cached_tokens", "output_tokens"),
            *(column for measure in ("queue", "ttft", "inter_token") for column in _measured(measure)),
            *_whole("recompute_tokens"),
            *_real("recompute_flops", "recompute_seconds"),
        ],
    )
    for unit in ("minute", "hour"):
        at = f"{unit}_at"
        _create(
            f"rolled_latency_{unit}s",
            ("engine_id", "tenant", "model", at, "measure", "bucket"),
            *_texts("engine_id", "tenant", "model"),
            *_times(at),
            *_texts("measure"),
            sa.Column("bucket", sa.Integer(), nullable=False, autoincrement=False),
            *_counts("requests_count"),
            not_negative=("requests_count",),
            index=(at,),
            partitioned_by=at if unit == "minute" else "",
        )
    _create(
        "latency_buckets",
        ("bucket",),
        sa.Column("bucket", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("from_seconds", sa.Float(53), nullable=False),
        *_real("to_seconds"),
        clustered=False,
    )
    bounds = [BOUNDS_FROM * 2 ** (number / BOUNDS_PER_DOUBLING) for number in range(BOUNDS_COUNT)]
    buckets = sa.table("latency_buckets", sa.column("bucket"), sa.column("from_seconds"), sa.column("to_seconds"))
    limits: list[tuple[float, float | None]] = list(zip([0.0, *bounds], [*bounds, None], strict=True))
    rows = [{"bucket": at, "from_seconds": low, "to_seconds": high} for at, (low, high) in enumerate(limits)]
    op.bulk_insert(buckets, rows)


def _create_bookkeeping() -> None:
    _create(
        "rollup_positions",
        ("kind",),
        *_texts("kind"),
        *_times("done_until"),
        *_texts("done_name"),
        not_empty=("kind",),
        clustered=False,
    )
    _create(
        "rollup_marks",
        ("kind", "from_at", "name"),
        *_texts("kind"),
        *_times("from_at"),
        *_texts("name"),
        not_empty=("kind",),
    )
    _create(
        "process_totals",
        ("engine_id", "instance_id"),
        *_texts("engine_id", "instance_id"),
        *_times("first_sampled_at", "last_sampled_at"),
        *_whole(*ALL_WHOLE_COUNTERS),
        *_real(*ALL_REAL_COUNTERS),
        index=("last_sampled_at",),
    )
    _create(
        "recompute_totals",
        ("engine_id", "instance_id", "tenant"),
        *_texts("engine_id", "instance_id", "tenant"),
        *_times("first_sampled_at", "last_sampled_at"),
        *_whole("tokens_total"),
        *_real("flops_total", "seconds_total"),
        index=("last_sampled_at",),
    )
