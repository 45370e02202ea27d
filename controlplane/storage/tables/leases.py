"""Desired state that is not placements: leases, tenants, policies with their versions, schedules."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, Table, Text

from controlplane.storage.column_types import FreeText, Json, UtcTimestamp
from controlplane.storage.tables.metadata import metadata, not_empty, not_negative

leases = Table(
    "leases",
    metadata,
    Column("lease_id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),  # "": any
    Column("device_kind", FreeText, nullable=False),
    Column("devices_count", BigInteger, nullable=False),
    Column("nodes", Json, nullable=False),  # none: any of its provider and region
    Column("starts_at", UtcTimestamp, nullable=False),
    Column("ends_at", UtcTimestamp, nullable=False, index=True),
    Column("price_per_device_hour", Float(53)),
    Column("currency", Text, nullable=False),  # "": no price
    Column("note", FreeText, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("created_by", FreeText, nullable=False),
    not_empty("lease_id"),
    not_empty("provider"),
    not_negative("devices_count"),
    not_negative("price_per_device_hour"),
)

tenants = Table(
    "tenants",
    metadata,
    Column("name", Text, primary_key=True),
    Column("note", FreeText, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("created_by", FreeText, nullable=False),
    not_empty("name"),
)

# A version is never changed: another document is another version. At most one of a name is applied.
policies = Table(
    "policies",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),  # what it decides: "admission", "routing", "placement"
    Column("document", Json, nullable=False),
    Column("comment", FreeText, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("created_by", FreeText, nullable=False),
    Column("applied_at", UtcTimestamp),
    Column("withdrawn_at", UtcTimestamp),
    not_empty("name"),
    not_empty("kind"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("schedule_id", Text, primary_key=True),
    Column("cron", Text, nullable=False),  # five fields, UTC
    Column("action", Text, nullable=False),
    Column("target", FreeText, nullable=False),
    Column("arguments", Json, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("note", FreeText, nullable=False),
    Column("ends_at", UtcTimestamp),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("created_by", FreeText, nullable=False),
    not_empty("schedule_id"),
    not_empty("action"),
)
