"""LoRA adapters of placements."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "2026_11_23_adapters"
down_revision: str | None = "2026_11_23_inside_engines"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("placements", sa.Column("adapters", JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("placements", "adapters")
