"""Leases, tenants, policies with their versions, schedules."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "2026_11_24_leases"
down_revision: str | None = "2026_11_24_rollups"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


# Frozen: the types and rules of this day, whatever the code says later.
TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def _column(name: str, kind: Any, **options: Any) -> "sa.Column[Any]":
    return sa.Column(name, kind, **{"nullable": False, **options})


def _texts(*names: str) -> "list[sa.Column[Any]]":
    return [_column(name, sa.Text()) for name in names]


def _made() -> "list[sa.Column[Any]]":
    return [_column("created_at", TIME), *_texts("created_by")]


def _create(table: str, key: str, *columns: "sa.Column[Any]", checks: dict[str, str]) -> None:
    op.create_table(
        table,
        *columns,
        sa.PrimaryKeyConstraint(*key.split(), name=op.f(f"pk_{table}")),
        *(sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in checks.items()),
    )


def _not_empty(*names: str) -> dict[str, str]:
    return {f"{name}_not_empty": f"{name} <> ''" for name in names}


def upgrade() -> None:
    counts = ("devices_count", "price_per_device_hour")
    _create(
        "leases",
        "lease_id",
        *_texts("lease_id", "provider", "region", "device_kind"),
        _column("devices_count", sa.BigInteger()),
        _column("nodes", JSON),
        _column("starts_at", TIME),
        _column("ends_at", TIME),
        _column("price_per_device_hour", sa.Float(53), nullable=True),
        *_texts("currency", "note"),
        *_made(),
        checks={**_not_empty("lease_id", "provider"), **{f"{it}_not_negative": f"{it} >= 0" for it in counts}},
    )
    op.create_index(op.f("ix_leases_ends_at"), "leases", ["ends_at"])
    _create("tenants", "name", *_texts("name", "note"), *_made(), checks=_not_empty("name"))
    _create(
        "policies",
        "name version",
        *_texts("name"),
        _column("version", sa.Integer(), autoincrement=False),
        *_texts("kind"),
        _column("document", JSON),
        *_texts("comment"),
        *_made(),
        _column("applied_at", TIME, nullable=True),
        _column("withdrawn_at", TIME, nullable=True),
        checks=_not_empty("name", "kind"),
    )
    _create(
        "schedules",
        "schedule_id",
        *_texts("schedule_id", "cron", "action", "target"),
        _column("arguments", JSON),
        _column("enabled", sa.Boolean()),
        *_texts("note"),
        _column("ends_at", TIME, nullable=True),
        *_made(),
        checks=_not_empty("schedule_id", "action"),
    )


def downgrade() -> None:
    for table in ("schedules", "policies", "tenants", "leases"):
        op.drop_table(table)
