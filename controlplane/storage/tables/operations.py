"""What the control plane notes about its own work: the audit's seals, and how its jobs went."""

from sqlalchemy import BigInteger, Column, Float, LargeBinary, Table, Text

from controlplane.fleet.jobs import JobOutcome
from controlplane.storage.column_types import EnumText, FreeText, UtcTimestamp
from controlplane.storage.tables.metadata import metadata, not_empty, not_negative, one_of

# Append-only on the database as well, as audit_entries: a trigger refuses to change or remove a row.
audit_seals = Table(
    "audit_seals",
    metadata,
    Column("seal_id", BigInteger, primary_key=True, autoincrement=False),
    Column("audit_id", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("at", UtcTimestamp, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("signer", Text, nullable=False),
    not_empty("hash"),
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("name", Text, primary_key=True),
    Column("interval_seconds", Float(53), nullable=False),
    Column("last_started_at", UtcTimestamp),
    Column("last_finished_at", UtcTimestamp),
    Column("last_duration_seconds", Float(53)),
    Column("last_outcome", EnumText(JobOutcome)),
    Column("last_error", FreeText, nullable=False),
    Column("detail", FreeText, nullable=False),
    Column("last_succeeded_at", UtcTimestamp),
    Column("failures_in_a_row", BigInteger, nullable=False),
    not_empty("name"),
    not_negative("interval_seconds"),
    not_negative("last_duration_seconds"),
    not_negative("failures_in_a_row"),
    one_of("last_outcome", JobOutcome),
)
