"""What happened. Names are copied, never referenced: history outlives what it names.

`engine_samples` has `sampled_at` in its key so that PostgreSQL can partition it by day.
"""

from sqlalchemy import BigInteger, Column, Float, Index, Table, Text

from controlplane.fleet.observed import EngineState, Severity
from controlplane.storage.column_types import EnumText, FreeText, Json, RowNumber, UtcTimestamp
from controlplane.storage.tables.metadata import metadata, not_empty, not_negative, one_of

_GAUGES = ("kv_capacity_tokens", "kv_used_tokens", "running_count", "waiting_count", "inflight_count")
_WHOLE_COUNTERS = (
    "prompt_tokens_total",
    "generation_tokens_total",
    "steps_total",
    "step_tokens_total",
    "prefix_query_tokens_total",
    "prefix_hit_tokens_total",
    "preemptions_total",
    "requests_finished_total",
    "ttft_count_total",
)
_REAL_COUNTERS = ("flops_total", "bytes_total", "ttft_seconds_sum_total")
_INSIDE_GAUGES = ("kv_headroom_tokens", "resident_chunks_count")
_INSIDE_WHOLE_COUNTERS = (
    "inside_steps_total",
    "inside_running_total",
    "prefill_tokens_total",
    "decode_tokens_total",
    "recompute_tokens_total",
)
_INSIDE_REAL_COUNTERS = ("busy_seconds_total", "recompute_flops_total", "recompute_seconds_total")

GAUGES = (*_GAUGES, *_INSIDE_GAUGES)
WHOLE_COUNTERS = (*_WHOLE_COUNTERS, *_INSIDE_WHOLE_COUNTERS)
REAL_COUNTERS = (*_REAL_COUNTERS, *_INSIDE_REAL_COUNTERS)
COUNTERS = (*WHOLE_COUNTERS, *REAL_COUNTERS)

SUMMARY_COUNTS = (
    "devices_count",
    "kv_used_tokens",
    "running_count",
    "waiting_count",
    "inflight_count",
    "kv_headroom_tokens",
)
SUMMARY_REALS = (
    "generation_tokens_per_second",
    "batch_tokens_per_step",
    "intensity_flops_per_byte",
    "ridge_flops_per_byte",
    "prefix_hit_ratio",
    "ttft_seconds_p50",
    "ttft_seconds_p95",
)

engine_samples = Table(
    "engine_samples",
    metadata,
    Column("engine_id", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True),
    Column("sampled_at", UtcTimestamp, primary_key=True),
    Column("node", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("state", Text, nullable=False),
    *(Column(name, BigInteger) for name in (*_GAUGES, *_WHOLE_COUNTERS)),
    *(Column(name, Float(53)) for name in _REAL_COUNTERS),
    # Last, as a migration adds them: PostgreSQL remembers the order in the views of this table.
    *(Column(name, BigInteger) for name in (*_INSIDE_GAUGES, *_INSIDE_WHOLE_COUNTERS)),
    *(Column(name, Float(53)) for name in _INSIDE_REAL_COUNTERS),
    # The time that the row stands for, see `samples`; and how many devices the engine had in it.
    Column("covers_seconds", Float(53)),
    Column("devices_count", BigInteger),
    *(not_negative(name) for name in (*GAUGES, *COUNTERS, "covers_seconds", "devices_count")),
    Index(None, "sampled_at"),
    postgresql_partition_by="RANGE (sampled_at)",
)

fleet_events = Table(
    "fleet_events",
    metadata,
    Column("event_id", RowNumber, primary_key=True, autoincrement=False),
    Column("at", UtcTimestamp, nullable=False),
    Column("severity", EnumText(Severity), nullable=False),
    Column("kind", Text, nullable=False),
    Column("message", FreeText, nullable=False),
    Column("node", Text, nullable=False),
    Column("engine_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("actor", FreeText, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("action", FreeText, nullable=False),
    not_empty("kind"),
    one_of("severity", Severity),
    Index(None, "at", "event_id"),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("audit_id", RowNumber, primary_key=True),
    Column("at", UtcTimestamp, nullable=False, index=True),
    Column("actor", FreeText, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", FreeText, nullable=False),
    Column("detail", FreeText, nullable=False),
    Column("outcome", FreeText, nullable=False),
    Column("peer", FreeText, nullable=False),
    Column("plan", FreeText, nullable=False),
    # Hexadecimal; what they are over is in docs/audit.md.
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    not_empty("actor"),
    not_empty("action"),
    not_empty("hash"),
)

engine_summaries = Table(
    "engine_summaries",
    metadata,
    Column("engine_id", Text, primary_key=True),
    Column("node", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("state", EnumText(EngineState), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("served_paths", Json, nullable=False),
    Column("context_tokens_max", BigInteger),
    Column("dtype", Text, nullable=False),
    Column("kv_capacity_tokens", BigInteger),
    Column("last_report_at", UtcTimestamp, nullable=False),
    # Of the last report: what `fleet_now` shows. Only people read it; a restarted daemon does not decide on it.
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    *(Column(name, BigInteger) for name in SUMMARY_COUNTS),
    *(Column(name, Float(53)) for name in SUMMARY_REALS),
    not_negative("generation"),
    not_negative("context_tokens_max"),
    not_negative("kv_capacity_tokens"),
    one_of("state", EngineState),
)
