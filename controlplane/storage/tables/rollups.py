"""Minutes and hours of engines, devices, nodes and requests, and how far they are computed.

Written by `storage.rollups` only, always as whole rows that replace what was there. A minute or hour is named by its beginning.
People read them through the views of `storage.views`, which bear the names without `rolled_`.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, Table, Text

from controlplane.storage.column_types import FreeText, UtcTimestamp
from controlplane.storage.tables.history import COUNTERS, REAL_COUNTERS
from controlplane.storage.tables.metadata import metadata, not_empty, not_negative

_UNITS = ("_tokens", "_seconds", "_sum", "_count", "flops", "bytes")


def counted(counter: str) -> str:
    """How a rollup names what a counter grew by: `steps_total` → `steps_count`, `flops_total` → `flops`."""
    name = counter.removesuffix("_total")
    return name if name.endswith(_UNITS) else f"{name}_count"


def _whole(*names: str) -> "list[Column[Any]]":
    return [Column(name, BigInteger) for name in names]


def _real(*names: str) -> "list[Column[Any]]":
    return [Column(name, Float(53)) for name in names]


def _names(*names: str) -> "list[Column[Any]]":
    return [Column(name, FreeText, nullable=False) for name in names]


def _table(name: str, keys: "list[Column[Any]]", at: str, *columns: "Column[Any]") -> Table:
    """Minutes lie by what they are about, as one engine's day is asked; hours by time, as the fleet's weeks are asked.

    Minutes are partitioned by day.
    """
    time = Column(at, UtcTimestamp, primary_key=True)
    by_time = at == "hour_at"
    return Table(
        name,
        metadata,
        *([time, *keys] if by_time else [*keys, time]),
        *columns,
        *(not_empty(key.name) for key in keys if key.name not in ("tenant", "model")),
        *(
            not_negative(column.name)
            for column in columns
            if not column.nullable and isinstance(column.type, BigInteger)
        ),
        Index(None, *((keys[0].name, at) if by_time else (at,))),
        sqlite_with_rowid=False,
        postgresql_partition_by=None if by_time else f"RANGE ({at})",
    )


def _engine_columns() -> "list[Column[Any]]":
    return [
        *_names("node", "provider", "region", "model", "state"),  # the last ones known in it
        Column("samples_count", BigInteger, nullable=False),
        Column("processes_count", BigInteger, nullable=False),  # engine processes seen: one more for each restart
        *_real("covered_seconds", "ready_seconds", "device_seconds"),  # device_seconds: covered, times its devices
        *_whole("kv_capacity_tokens"),
        *_real("kv_used_tokens_mean"),
        *_whole("kv_used_tokens_max"),
        *_real("kv_used_ratio_mean", "kv_used_ratio_max", "running_count_mean"),
        *_whole("running_count_max"),
        *_real("waiting_count_mean"),
        *_whole("waiting_count_max"),
        *_real("inflight_count_mean"),
        *_whole("inflight_count_max", "kv_headroom_tokens_min", "resident_chunks_count_max"),
        *(Column(counted(name), Float(53) if name in REAL_COUNTERS else BigInteger) for name in COUNTERS),
    ]


def _device_columns() -> "list[Column[Any]]":
    return [
        *_names("provider", "region", "device_kind", "engine_id", "model"),  # the last ones known in it
        Column("samples_count", BigInteger, nullable=False),
        # covered: heard of; placed: held by an engine; serving: that was ready; busy: that computed
        *_real("covered_seconds", "placed_seconds", "serving_seconds", "busy_seconds", "throttled_seconds"),
        *_whole("memory_total_bytes"),
        *_real("memory_used_bytes_mean"),
        *_whole("memory_used_bytes_max", "weights_bytes_max", "kv_cache_bytes_max", "free_bytes_min"),
        *_real("power_watts_mean", "power_watts_max", "energy_joules", "temperature_celsius_max"),
        *_whole("faults_count_max"),
    ]


def _node_columns() -> "list[Column[Any]]":
    return [
        *_names("provider", "region", "trust", "agent_version"),  # the last ones known in it
        Column("connected", Boolean, nullable=False),
        Column("cordoned", Boolean, nullable=False),
        Column("simulated", Boolean, nullable=False),
        Column("samples_count", BigInteger, nullable=False),
        *_real("covered_seconds", "connected_seconds", "cordoned_seconds", "device_seconds", "placed_device_seconds"),
        *_whole("devices_count", "placed_devices_count", "engines_count", "ready_engines_count"),  # the last ones
        *_real("clock_error_seconds"),  # the last one
    ]


OUTCOME_COUNTS = ("completed_count", "aborted_count", "refused_count", "failed_count", "unknown_count")
MEASURES = ("queue_seconds", "ttft_seconds", "inter_token_seconds")  # whose quantiles are kept, per request


def _request_columns() -> "list[Column[Any]]":
    measured: list[Column[Any]] = []
    for measure in MEASURES:
        measured += _real(f"{measure}_sum")
        measured += _whole(f"{measure.removesuffix('_seconds')}_count")
        measured += _real(f"{measure}_p50", f"{measure}_p90", f"{measure}_p99")
    return [
        *_names("node", "provider", "region"),
        Column("requests_count", BigInteger, nullable=False),
        *(Column(name, BigInteger, nullable=False) for name in OUTCOME_COUNTS),
        *_whole("prompt_tokens", "cached_tokens", "output_tokens"),
        *measured,
        *_whole("recompute_tokens"),
        *_real("recompute_flops", "recompute_seconds"),
    ]


def _key(*names: str) -> "list[Column[Any]]":
    return [Column(name, FreeText if name in ("tenant", "model") else Text, primary_key=True) for name in names]


rolled_engine_minutes = _table("rolled_engine_minutes", _key("engine_id"), "minute_at", *_engine_columns())
rolled_engine_hours = _table("rolled_engine_hours", _key("engine_id"), "hour_at", *_engine_columns())
rolled_device_minutes = _table("rolled_device_minutes", _key("node", "device_id"), "minute_at", *_device_columns())
rolled_device_hours = _table("rolled_device_hours", _key("node", "device_id"), "hour_at", *_device_columns())
rolled_node_minutes = _table("rolled_node_minutes", _key("node"), "minute_at", *_node_columns())
rolled_node_hours = _table("rolled_node_hours", _key("node"), "hour_at", *_node_columns())
rolled_request_minutes = _table(
    "rolled_request_minutes", _key("engine_id", "tenant", "model"), "minute_at", *_request_columns()
)
rolled_request_hours = _table(
    "rolled_request_hours", _key("engine_id", "tenant", "model"), "hour_at", *_request_columns()
)


def _latency(name: str, at: str) -> Table:
    """How many requests fell into which bucket (`latency_buckets`): adds up over any stretch and any group."""
    return Table(
        name,
        metadata,
        *_key("engine_id", "tenant", "model"),
        Column(at, UtcTimestamp, primary_key=True),
        Column("measure", Text, primary_key=True),  # one of MEASURES
        Column("bucket", Integer, primary_key=True, autoincrement=False),
        Column("requests_count", BigInteger, nullable=False),
        not_negative("requests_count"),
        Index(None, at),
        sqlite_with_rowid=False,
        postgresql_partition_by=f"RANGE ({at})" if at == "minute_at" else None,
    )


rolled_latency_minutes = _latency("rolled_latency_minutes", "minute_at")
rolled_latency_hours = _latency("rolled_latency_hours", "hour_at")

# Filled by the migration and never changed: bounds grow by the fourth root of two (19 %) from 100 µs to over an hour.
latency_buckets = Table(
    "latency_buckets",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("from_seconds", Float(53), nullable=False),  # exclusive, but the first one holds zero
    Column("to_seconds", Float(53)),  # inclusive; NULL: no limit
)

# All that is before `done_until` is computed, but for what a mark names; and of the minute or hour that begins there, those
# whose name is not after `done_name`. Of a table of samples or requests: all that is before `done_until` is forgotten.
rollup_positions = Table(
    "rollup_positions",
    metadata,
    Column("kind", Text, primary_key=True),  # the table that is computed, or forgotten
    Column("done_until", UtcTimestamp, nullable=False),
    Column("done_name", Text, nullable=False),
    not_empty("kind"),
)

# A stretch to compute again since rows came late. Of samples: an hour of one engine or node; of requests: a minute of one
# engine.
rollup_marks = Table(
    "rollup_marks",
    metadata,
    Column("kind", Text, primary_key=True),  # the table that is to be computed
    Column("from_at", UtcTimestamp, primary_key=True),
    Column("name", Text, primary_key=True),  # the engine's, or the node's
    not_empty("kind"),
    sqlite_with_rowid=False,
)

# Each engine process's counters as far as they are in minutes: what the next minute grew by is told from here.
process_totals = Table(
    "process_totals",
    metadata,
    Column("engine_id", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True),
    Column("first_sampled_at", UtcTimestamp, nullable=False),
    Column("last_sampled_at", UtcTimestamp, nullable=False),
    *(Column(name, Float(53) if name in REAL_COUNTERS else BigInteger) for name in COUNTERS),
    Index(None, "last_sampled_at"),
    sqlite_with_rowid=False,
)

# The same of each tenant's recompute bill.
recompute_totals = Table(
    "recompute_totals",
    metadata,
    Column("engine_id", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True),
    Column("tenant", FreeText, primary_key=True),
    Column("first_sampled_at", UtcTimestamp, nullable=False),
    Column("last_sampled_at", UtcTimestamp, nullable=False),
    Column("tokens_total", BigInteger),
    Column("flops_total", Float(53)),
    Column("seconds_total", Float(53)),
    Index(None, "last_sampled_at"),
    sqlite_with_rowid=False,
)
