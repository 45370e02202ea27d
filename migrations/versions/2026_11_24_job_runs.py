"""How each job's last run went."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "2026_11_24_job_runs"
down_revision: str | None = "2026_11_24_audit_chain"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Frozen: the types and rules of this day, whatever the code says later.
TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
CHECKS = {
    "name_not_empty": "name <> ''",
    "interval_seconds_not_negative": "interval_seconds >= 0",
    "last_duration_seconds_not_negative": "last_duration_seconds >= 0",
    "failures_in_a_row_not_negative": "failures_in_a_row >= 0",
    "last_outcome_known": "last_outcome IN ('succeeded', 'failed', 'interrupted')",
}


def upgrade() -> None:
    op.create_table(
        "job_runs",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("interval_seconds", sa.Float(53), nullable=False),
        sa.Column("last_started_at", TIME),
        sa.Column("last_finished_at", TIME),
        sa.Column("last_duration_seconds", sa.Float(53)),
        sa.Column("last_outcome", sa.Text()),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("last_succeeded_at", TIME),
        sa.Column("failures_in_a_row", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_runs")),
        *(sa.CheckConstraint(rule, name=op.f(f"ck_job_runs_{name}")) for name, rule in CHECKS.items()),
    )


def downgrade() -> None:
    op.drop_table("job_runs")
