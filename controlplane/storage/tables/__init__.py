"""The schema as SQLAlchemy knows it; `migrations` builds the same, and a test compares the two."""

from controlplane.storage.tables.access import api_keys, join_tokens, leadership, operators
from controlplane.storage.tables.admission import admission_counts
from controlplane.storage.tables.desired import deployments, nodes, placements
from controlplane.storage.tables.history import audit_entries, engine_samples, engine_summaries, fleet_events
from controlplane.storage.tables.leases import leases, policies, schedules, tenants
from controlplane.storage.tables.metadata import metadata
from controlplane.storage.tables.operations import audit_seals, job_runs
from controlplane.storage.tables.records import request_records, spool_positions
from controlplane.storage.tables.rollups import (
    latency_buckets,
    process_totals,
    recompute_totals,
    rolled_device_hours,
    rolled_device_minutes,
    rolled_engine_hours,
    rolled_engine_minutes,
    rolled_latency_hours,
    rolled_latency_minutes,
    rolled_node_hours,
    rolled_node_minutes,
    rolled_request_hours,
    rolled_request_minutes,
    rollup_marks,
    rollup_positions,
)
from controlplane.storage.tables.samples import device_samples, node_samples, recompute_samples

__all__ = [
    "admission_counts",
    "api_keys",
    "audit_entries",
    "audit_seals",
    "deployments",
    "device_samples",
    "engine_samples",
    "engine_summaries",
    "fleet_events",
    "job_runs",
    "join_tokens",
    "latency_buckets",
    "leadership",
    "leases",
    "metadata",
    "node_samples",
    "nodes",
    "operators",
    "placements",
    "policies",
    "process_totals",
    "recompute_samples",
    "recompute_totals",
    "request_records",
    "rolled_device_hours",
    "rolled_device_minutes",
    "rolled_engine_hours",
    "rolled_engine_minutes",
    "rolled_latency_hours",
    "rolled_latency_minutes",
    "rolled_node_hours",
    "rolled_node_minutes",
    "rolled_request_hours",
    "rolled_request_minutes",
    "rollup_marks",
    "rollup_positions",
    "schedules",
    "spool_positions",
    "tenants",
]
