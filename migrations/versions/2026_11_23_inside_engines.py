"""Samples of what happens inside engines; events name their device and what to do."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "2026_11_23_inside_engines"
down_revision: str | None = "2026_11_23_request_records"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Frozen: the columns of this day, whatever the code says later.
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
NEW_GAUGES = ("kv_headroom_tokens", "resident_chunks_count")
NEW_WHOLE_COUNTERS = (
    "inside_steps_total",
    "inside_running_total",
    "prefill_tokens_total",
    "decode_tokens_total",
    "recompute_tokens_total",
)
NEW_REAL_COUNTERS = ("busy_seconds_total", "recompute_flops_total", "recompute_seconds_total")
EVENT_TEXTS = ("device_id", "action")


def upgrade() -> None:
    op.execute("DROP VIEW engine_intervals")
    for name in (*NEW_GAUGES, *NEW_WHOLE_COUNTERS):
        _add_sample_column(name, "BIGINT")
    for name in NEW_REAL_COUNTERS:
        _add_sample_column(name, "FLOAT")
    op.execute(
        _engine_intervals(
            (*GAUGES, *NEW_GAUGES),
            (*WHOLE_COUNTERS, *NEW_WHOLE_COUNTERS, *REAL_COUNTERS, *NEW_REAL_COUNTERS),
        )
    )
    # Events of before were about no device. The default fills the rows that are there, and then goes.
    with op.batch_alter_table("fleet_events") as batch:
        for name in EVENT_TEXTS:
            batch.add_column(sa.Column(name, sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("fleet_events") as batch:
        for name in EVENT_TEXTS:
            batch.alter_column(name, existing_type=sa.Text(), existing_nullable=False, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("fleet_events") as batch:
        for name in EVENT_TEXTS:
            batch.drop_column(name)
    op.execute("DROP VIEW engine_intervals")
    for name in (*NEW_GAUGES, *NEW_WHOLE_COUNTERS, *NEW_REAL_COUNTERS):
        op.execute(f"ALTER TABLE engine_samples DROP COLUMN {name}")
    op.execute(_engine_intervals(GAUGES, (*WHOLE_COUNTERS, *REAL_COUNTERS)))


def _add_sample_column(name: str, kind: str) -> None:
    """With its check in the column itself, since SQLite adds none to a table; PostgreSQL's FLOAT is a double, too."""
    check = f"CONSTRAINT ck_engine_samples_{name}_not_negative CHECK ({name} >= 0)"
    op.execute(f"ALTER TABLE engine_samples ADD COLUMN {name} {kind} {check}")


def _engine_intervals(gauges: Sequence[str], counters: Sequence[str]) -> str:
    """What each sample adds to its process's counters. See docs/history.md."""
    process = "(PARTITION BY engine_id, instance_id ORDER BY sampled_at"
    seen = [f"  LAG(sampled_at) OVER {process}) AS since_at"]
    added = []
    for name in counters:
        seen.append(f"  MAX({name}) OVER {process} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS {name}_seen")
        before = f"COALESCE({name}_seen, 0)"
        added.append(
            f"  CASE WHEN {name} IS NULL THEN NULL WHEN {name} > {before}\n"
            f"    THEN {name} - {before} ELSE 0 END AS {name.removesuffix('_total')}"
        )
    seconds = {
        "sqlite": "ROUND((julianday(sampled_at) - julianday(since_at)) * 86400, 3)",
        "postgresql": "ROUND(CAST(EXTRACT(EPOCH FROM sampled_at - since_at) AS numeric), 3)",
    }[op.get_bind().dialect.name]
    columns = [
        "  engine_id, instance_id, node, provider, region, model, state, since_at",
        "  sampled_at AS until_at",
        f"  {seconds} AS interval_seconds",
        *(f"  {name}" for name in gauges),
        "  CASE WHEN kv_capacity_tokens > 0 THEN kv_used_tokens * 1.0 / kv_capacity_tokens END AS kv_used_ratio",
        *added,
    ]
    samples = "SELECT *,\n" + ",\n".join(seen) + "\nFROM engine_samples"
    return "CREATE VIEW engine_intervals AS SELECT\n" + ",\n".join(columns) + f"\nFROM (\n{samples}\n) AS readings"
