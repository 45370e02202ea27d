"""Simulators: join tokens and nodes that may speak for simulated nodes, and those nodes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "2026_11_23_simulators"
down_revision: str | None = "2026_11_22_initial"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Whoever joined before could not simulate, and was a real node.


def upgrade() -> None:
    op.add_column("join_tokens", sa.Column("simulator", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("nodes", sa.Column("simulator", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("nodes", sa.Column("simulated_by", sa.Text(), nullable=False, server_default=sa.text("''")))


def downgrade() -> None:
    op.drop_column("nodes", "simulated_by")
    op.drop_column("nodes", "simulator")
    op.drop_column("join_tokens", "simulator")
