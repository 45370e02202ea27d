"""Records of requests, and how far each node's spool of them is stored."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "2026_11_23_request_records"
down_revision: str | None = "2026_11_23_simulators"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Frozen: the types and rules of this day, whatever the code says later.
TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")
SECONDS = ("queue_seconds", "ttft_seconds", "inter_token_seconds_mean")
OUTCOMES = "'completed', 'aborted', 'refused', 'failed', 'unknown'"


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


def upgrade() -> None:
    _create(
        "request_records",
        *_texts("node", "spool_id"),
        _column("sequence", sa.BigInteger(), autoincrement=False),
        *_texts("engine_id", "instance_id", "provider", "region", "model", "tenant", "request_id"),
        _column("started_at", TIME),
        _column("finished_at", TIME),
        *_texts("outcome"),
        _column("status_code", sa.Integer(), nullable=True),
        *(_column(name, sa.BigInteger(), nullable=True) for name in TOKENS),
        *(_column(name, sa.Float(53), nullable=True) for name in SECONDS),
        key=["node", "spool_id", "sequence"],
        checks={
            "engine_id_not_empty": "engine_id <> ''",
            "outcome_known": f"outcome IN ({OUTCOMES})",
            **{f"{name}_not_negative": f"{name} >= 0" for name in (*TOKENS, *SECONDS)},
        },
    )
    op.create_index(op.f("ix_request_records_finished_at"), "request_records", ["finished_at"])
    _create(
        "spool_positions",
        *_texts("node", "spool_id"),
        _column("sequence", sa.BigInteger()),
        _column("dropped_total", sa.BigInteger()),
        _column("updated_at", TIME),
        key=["node", "spool_id"],
        checks={f"{name}_not_negative": f"{name} >= 0" for name in ("sequence", "dropped_total")},
    )
    op.create_index(op.f("ix_spool_positions_updated_at"), "spool_positions", ["updated_at"])


def downgrade() -> None:
    op.drop_table("spool_positions")
    op.drop_table("request_records")
