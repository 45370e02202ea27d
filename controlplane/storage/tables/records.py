"""What nodes deliver late but exactly once: records of requests, and how far each node's spool is stored."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, Table, Text

from controlplane.fleet.node_records import RequestOutcome
from controlplane.storage.column_types import EnumText, FreeText, UtcTimestamp
from controlplane.storage.tables.metadata import metadata, not_empty, not_negative, one_of

TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")
SECONDS = ("queue_seconds", "ttft_seconds", "inter_token_seconds_mean")

request_records = Table(
    "request_records",
    metadata,
    Column("node", Text, primary_key=True),
    Column("spool_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("engine_id", Text, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("model", FreeText, nullable=False),
    Column("tenant", FreeText, nullable=False),
    Column("request_id", FreeText, nullable=False),
    Column("started_at", UtcTimestamp, nullable=False),
    Column("finished_at", UtcTimestamp, nullable=False),
    Column("outcome", EnumText(RequestOutcome), nullable=False),
    Column("status_code", Integer),
    *(Column(name, BigInteger) for name in TOKENS),
    *(Column(name, Float(53)) for name in SECONDS),
    not_empty("engine_id"),
    one_of("outcome", RequestOutcome),
    *(not_negative(name) for name in (*TOKENS, *SECONDS)),
    Index(None, "finished_at", "engine_id"),
)

spool_positions = Table(
    "spool_positions",
    metadata,
    Column("node", Text, primary_key=True),
    Column("spool_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("dropped_total", BigInteger, nullable=False),
    Column("updated_at", UtcTimestamp, nullable=False),
    not_negative("sequence"),
    not_negative("dropped_total"),
    Index(None, "updated_at"),
)
