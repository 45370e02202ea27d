"""Ten-second readings of devices and nodes, and each tenant's recompute bill; those of engines are in `history`.

Names are copied. `sampled_at` is in every key, so that PostgreSQL can keep a partition a day. `covers_seconds` is the time that
a row stands for: since the row before it, but never more than twice the interval, so that silence is not counted as anything.
"""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Table, Text

from controlplane.storage.column_types import FreeText, UtcTimestamp
from controlplane.storage.tables.metadata import metadata, not_empty, not_negative

DEVICE_BYTES = (
    "memory_total_bytes",
    "memory_used_bytes",
    "weights_bytes",
    "kv_cache_bytes",
    "activations_bytes",
    "other_bytes",
    "free_bytes",
)
DEVICE_REALS = ("power_watts", "temperature_celsius", "compute_clock_hertz")
NODE_COUNTS = ("devices_count", "placed_devices_count", "engines_count", "ready_engines_count")
RECOMPUTE_TOTALS = ("tokens_total", "flops_total", "seconds_total")

device_samples = Table(
    "device_samples",
    metadata,
    Column("node", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("sampled_at", UtcTimestamp, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("device_kind", FreeText, nullable=False),
    Column("engine_id", Text, nullable=False),  # "": no engine has it
    Column("model", Text, nullable=False),
    Column("engine_ready", Boolean, nullable=False),
    Column("covers_seconds", Float(53)),
    *(Column(name, BigInteger) for name in DEVICE_BYTES),
    *(Column(name, Float(53)) for name in DEVICE_REALS),
    Column("throttled", Boolean),
    Column("faults_count", BigInteger),
    *(not_negative(name) for name in ("covers_seconds", *DEVICE_BYTES, "power_watts", "faults_count")),
    Index(None, "sampled_at"),
    postgresql_partition_by="RANGE (sampled_at)",
)

node_samples = Table(
    "node_samples",
    metadata,
    Column("node", Text, primary_key=True),
    Column("sampled_at", UtcTimestamp, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("connected", Boolean, nullable=False),
    Column("trust", Text, nullable=False),
    Column("cordoned", Boolean, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("agent_version", FreeText, nullable=False),
    Column("covers_seconds", Float(53)),
    *(Column(name, BigInteger) for name in NODE_COUNTS),
    Column("clock_error_seconds", Float(53)),
    *(not_negative(name) for name in ("covers_seconds", *NODE_COUNTS)),
    Index(None, "sampled_at"),
    postgresql_partition_by="RANGE (sampled_at)",
)

# Written once a minute and only where it grew: `*_total` count from the start of the process `instance_id`.
recompute_samples = Table(
    "recompute_samples",
    metadata,
    Column("engine_id", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True),
    Column("tenant", FreeText, primary_key=True),
    Column("sampled_at", UtcTimestamp, primary_key=True),
    Column("node", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("tokens_total", BigInteger, nullable=False),
    Column("flops_total", Float(53)),
    Column("seconds_total", Float(53)),
    not_empty("engine_id"),
    *(not_negative(name) for name in RECOMPUTE_TOTALS),
    Index(None, "sampled_at"),
    postgresql_partition_by="RANGE (sampled_at)",
)
