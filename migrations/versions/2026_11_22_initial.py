"""The first schema: desired state, identities, history, audit, leadership."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "2026_11_22_initial"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Frozen: the types and rules of this day, whatever the code says later.
TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
GAUGES = ("kv_capacity_tokens", "kv_used_tokens", "running_count", "waiting_count", "inflight_count")
WHOLE_COUNTERS = (
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
REAL_COUNTERS = ("flops_total", "bytes_total", "ttft_seconds_sum_total")


def _column(name: str, kind: Any, **options: Any) -> "sa.Column[Any]":
    return sa.Column(name, kind, **{"nullable": False, **options})


def _texts(*names: str) -> "list[sa.Column[Any]]":
    return [_column(name, sa.Text()) for name in names]


def _create(table: str, *parts: Any, key: Sequence[str], checks: dict[str, str]) -> None:
    op.create_table(
        table,
        *parts,
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
        *(sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in checks.items()),
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _not_negative(*names: str) -> dict[str, str]:
    return {f"{name}_not_negative": f"{name} >= 0" for name in names}


def _not_empty(*names: str) -> dict[str, str]:
    return {f"{name}_not_empty": f"{name} <> ''" for name in names}


def upgrade() -> None:
    _create_desired()
    _create_history()
    _create_access()
    op.execute(_engine_intervals(op.get_bind().dialect.name))


def downgrade() -> None:
    op.execute("DROP VIEW engine_intervals")
    for table in (
        "placements",
        "deployments",
        "nodes",
        "engine_samples",
        "fleet_events",
        "audit_entries",
        "engine_summaries",
        "api_keys",
        "join_tokens",
        "operators",
        "leadership",
    ):
        op.drop_table(table)


def _create_desired() -> None:
    _create(
        "nodes",
        *_texts("name", "provider", "region", "zone"),
        _column("labels", JSON),
        _column("enrolled_at", TIME),
        *_texts("identity_serial"),
        _column("advertised_hosts", JSON),
        _column("cordoned", sa.Boolean()),
        *_texts("cordon_reason"),
        _column("certificate_not_after", TIME, nullable=True),
        key=["name"],
        checks=_not_empty("name"),
    )
    _create(
        "deployments",
        *_texts("name", "model", "source"),
        _column("engine_args", JSON),
        key=["name"],
        checks=_not_empty("name", "model"),
    )
    _create(
        "placements",
        *_texts("placement_id", "deployment", "node"),
        _column("generation", sa.BigInteger()),
        *_texts("desired"),
        _column("device_ids", JSON),
        _column("drain_seconds_max", sa.Float(), nullable=True),
        _column("created_at", TIME),
        *_texts("created_by"),
        sa.ForeignKeyConstraint(
            ["deployment"], ["deployments.name"], name=op.f("fk_placements_deployment_deployments")
        ),
        sa.ForeignKeyConstraint(["node"], ["nodes.name"], name=op.f("fk_placements_node_nodes")),
        key=["placement_id"],
        checks={
            **_not_empty("placement_id"),
            **_not_negative("generation", "drain_seconds_max"),
            "desired_known": "desired IN ('running', 'drained', 'removed')",
        },
    )
    _index("placements", "deployment")
    _index("placements", "node")


def _create_history() -> None:
    _create(
        "engine_samples",
        *_texts("engine_id", "instance_id"),
        _column("sampled_at", TIME),
        *_texts("node", "provider", "region", "model", "state"),
        *(_column(name, sa.BigInteger(), nullable=True) for name in (*GAUGES, *WHOLE_COUNTERS)),
        *(_column(name, sa.Float(53), nullable=True) for name in REAL_COUNTERS),
        key=["engine_id", "instance_id", "sampled_at"],
        checks=_not_negative(*GAUGES, *WHOLE_COUNTERS, *REAL_COUNTERS),
    )
    _index("engine_samples", "sampled_at")
    _create(
        "fleet_events",
        _column("event_id", ROW_NUMBER, autoincrement=False),
        _column("at", TIME),
        *_texts("severity", "kind", "message", "node", "engine_id", "model", "actor"),
        key=["event_id"],
        checks={**_not_empty("kind"), "severity_known": "severity IN ('info', 'warning', 'error')"},
    )
    _index("fleet_events", "at", "event_id")
    _create(
        "audit_entries",
        _column("audit_id", ROW_NUMBER),
        _column("at", TIME),
        *_texts("actor", "action", "target", "detail", "outcome", "peer"),
        key=["audit_id"],
        checks=_not_empty("actor", "action"),
    )
    _index("audit_entries", "at")
    _create(
        "engine_summaries",
        *_texts("engine_id", "node", "model"),
        _column("generation", sa.BigInteger()),
        *_texts("instance_id", "state", "endpoint"),
        _column("served_paths", JSON),
        _column("context_tokens_max", sa.BigInteger(), nullable=True),
        *_texts("dtype"),
        _column("kv_capacity_tokens", sa.BigInteger(), nullable=True),
        _column("last_report_at", TIME),
        key=["engine_id"],
        checks={
            **_not_negative("generation", "context_tokens_max", "kv_capacity_tokens"),
            "state_known": "state IN ('starting', 'ready', 'draining', 'stopping', 'stopped', 'backing_off', 'failed')",
        },
    )


def _create_access() -> None:
    _create(
        "api_keys",
        *_texts("key_id", "tenant"),
        _column("created_at", TIME),
        *_texts("created_by"),
        _column("expires_at", TIME, nullable=True),
        _column("revoked_at", TIME, nullable=True),
        *_texts("note"),
        key=["key_id"],
        checks=_not_empty("key_id", "tenant"),
    )
    _index("api_keys", "tenant")
    _create(
        "join_tokens",
        *_texts("token_id"),
        _column("secret_hash", sa.LargeBinary()),
        _column("created_at", TIME),
        *_texts("created_by"),
        _column("expires_at", TIME),
        *_texts("node_name"),
        _column("replace", sa.Boolean()),
        _column("used_at", TIME, nullable=True),
        *_texts("used_by_node"),
        key=["token_id"],
        checks=_not_empty("token_id"),
    )
    _index("join_tokens", "expires_at")
    _create(
        "operators",
        *_texts("name", "role", "serial"),
        _column("not_after", TIME),
        _column("created_at", TIME),
        *_texts("created_by"),
        _column("revoked_at", TIME, nullable=True),
        key=["name"],
        checks={**_not_empty("name", "serial"), "role_known": "role IN ('viewer', 'operator', 'admin')"},
    )
    _create(
        "leadership",
        _column("only_row", sa.Integer(), autoincrement=False),
        _column("epoch", sa.BigInteger()),
        *_texts("holder"),
        _column("acquired_at", TIME),
        key=["only_row"],
        checks={"only_row": "only_row = 1", "epoch_positive": "epoch > 0"},
    )


def _engine_intervals(dialect: str) -> str:
    """What each sample adds to its process's counters. See docs/history.md."""
    process = "(PARTITION BY engine_id, instance_id ORDER BY sampled_at"
    seen = [f"  LAG(sampled_at) OVER {process}) AS since_at"]
    added = []
    for name in (*WHOLE_COUNTERS, *REAL_COUNTERS):
        seen.append(f"  MAX({name}) OVER {process} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS {name}_seen")
        before = f"COALESCE({name}_seen, 0)"
        added.append(
            f"  CASE WHEN {name} IS NULL THEN NULL WHEN {name} > {before}\n"
            f"    THEN {name} - {before} ELSE 0 END AS {name.removesuffix('_total')}"
        )
    seconds = {
        "sqlite": "ROUND((julianday(sampled_at) - julianday(since_at)) * 86400, 3)",
        "postgresql": "ROUND(CAST(EXTRACT(EPOCH FROM sampled_at - since_at) AS numeric), 3)",
    }[dialect]
    columns = [
        "  engine_id, instance_id, node, provider, region, model, state, since_at",
        "  sampled_at AS until_at",
        f"  {seconds} AS interval_seconds",
        *(f"  {name}" for name in GAUGES),
        "  CASE WHEN kv_capacity_tokens > 0 THEN kv_used_tokens * 1.0 / kv_capacity_tokens END AS kv_used_ratio",
        *added,
    ]
    samples = "SELECT *,\n" + ",\n".join(seen) + "\nFROM engine_samples"
    return "CREATE VIEW engine_intervals AS SELECT\n" + ",\n".join(columns) + f"\nFROM (\n{samples}\n) AS readings"
