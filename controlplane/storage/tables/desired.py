"""Desired state: what operators want. Changed only by operators' commands, referenced with foreign keys."""

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Table, Text, false, text

from controlplane.fleet.desired import DesiredState
from controlplane.storage.column_types import EnumText, FreeText, Json, UtcTimestamp
from controlplane.storage.tables.metadata import metadata, not_empty, not_negative, one_of

nodes = Table(
    "nodes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("labels", Json, nullable=False),
    Column("enrolled_at", UtcTimestamp, nullable=False),
    Column("identity_serial", Text, nullable=False),
    Column("advertised_hosts", Json, nullable=False),
    Column("cordoned", Boolean, nullable=False),
    Column("cordon_reason", FreeText, nullable=False),
    Column("certificate_not_after", UtcTimestamp),
    Column("simulator", Boolean, nullable=False, server_default=false()),
    Column("simulated_by", Text, nullable=False, server_default=text("''")),
    not_empty("name"),
)

deployments = Table(
    "deployments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("engine_args", Json, nullable=False),
    not_empty("name"),
    not_empty("model"),
)

placements = Table(
    "placements",
    metadata,
    Column("placement_id", Text, primary_key=True),
    Column("deployment", Text, ForeignKey("deployments.name"), nullable=False, index=True),
    Column("node", Text, ForeignKey("nodes.name"), nullable=False, index=True),
    Column("generation", BigInteger, nullable=False),
    Column("desired", EnumText(DesiredState), nullable=False),
    Column("device_ids", Json, nullable=False),
    Column("drain_seconds_max", Float),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("adapters", Json, nullable=False, server_default="[]"),
    not_empty("placement_id"),
    not_negative("generation"),
    not_negative("drain_seconds_max"),
    one_of("desired", DesiredState),
)
