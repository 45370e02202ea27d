"""The schema as SQLAlchemy knows it; `migrations` builds the same, and a test compares the two."""

from controlplane.storage.tables.access import api_keys, join_tokens, leadership, operators
from controlplane.storage.tables.desired import deployments, nodes, placements
from controlplane.storage.tables.history import audit_entries, engine_samples, engine_summaries, fleet_events
from controlplane.storage.tables.metadata import metadata
from controlplane.storage.tables.records import request_records, spool_positions

__all__ = [
    "api_keys",
    "audit_entries",
    "deployments",
    "engine_samples",
    "engine_summaries",
    "fleet_events",
    "join_tokens",
    "leadership",
    "metadata",
    "nodes",
    "operators",
    "placements",
    "request_records",
    "spool_positions",
]
