"""The audit's entries are chained by hash, its head is sealed, and the database refuses to change what happened."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "2026_11_24_audit_chain"
down_revision: str | None = "2026_11_23_adapters"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Frozen: the types and rules of this day, whatever the code says later.
TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
ROWS_AT_ONCE = 1_000
NEW_TEXTS = ("plan", "prev_hash", "hash")
ENTRIES = sa.table(
    "audit_entries",
    sa.column("audit_id", sa.BigInteger()),
    sa.column("at", TIME),
    *(sa.column(name, sa.Text()) for name in ("actor", "action", "target", "detail", "outcome", "peer", *NEW_TEXTS)),
)
# What is refused, by table. Retention removes old events, nothing removes what is in the audit.
APPEND_ONLY = {
    "audit_entries": ("UPDATE", "DELETE"),
    "audit_seals": ("UPDATE", "DELETE"),
    "fleet_events": ("UPDATE",),
}
REPLACED = {"audit_entries": "audit_id", "audit_seals": "seal_id"}


def upgrade() -> None:
    with op.batch_alter_table("audit_entries") as batch:
        for name in NEW_TEXTS:
            batch.add_column(sa.Column(name, sa.Text(), nullable=False, server_default=""))
    _chain(op.get_bind())
    with op.batch_alter_table("audit_entries") as batch:
        for name in NEW_TEXTS:
            batch.alter_column(name, existing_type=sa.Text(), existing_nullable=False, server_default=None)
        batch.create_check_constraint(op.f("ck_audit_entries_hash_not_empty"), "hash <> ''")
    op.create_table(
        "audit_seals",
        sa.Column("seal_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("audit_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seal_id", name=op.f("pk_audit_seals")),
        sa.CheckConstraint("hash <> ''", name=op.f("ck_audit_seals_hash_not_empty")),
    )
    if op.get_bind().dialect.name == "postgresql":
        _guard_postgresql()
    else:
        _guard_sqlite()


def downgrade() -> None:
    """The chain and its seals are lost; the entries stay."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    for table, refused in APPEND_ONLY.items():
        on = f" ON {table}" if postgresql else ""
        for name in _triggers(table, refused, postgresql=postgresql):
            op.execute(f"DROP TRIGGER {name}{on}")
    if postgresql:
        op.execute("DROP FUNCTION stoker_append_only()")
    op.drop_table("audit_seals")
    with op.batch_alter_table("audit_entries") as batch:
        batch.drop_constraint(op.f("ck_audit_entries_hash_not_empty"), type_="check")
        for name in NEW_TEXTS:
            batch.drop_column(name)
    if postgresql:  # the chain numbers its entries itself; what comes now asks the sequence again
        op.execute(
            "SELECT setval(pg_get_serial_sequence('audit_entries', 'audit_id'), "
            "GREATEST(1, (SELECT COALESCE(MAX(audit_id), 0) FROM audit_entries)), "
            "EXISTS (SELECT 1 FROM audit_entries))"
        )


def _chain(connection: sa.Connection) -> None:
    """Hash the entries that are there, in the order of their numbers."""
    last_id, last_hash = None, "0" * 64
    link = (
        sa.update(ENTRIES)
        .where(ENTRIES.c.audit_id == sa.bindparam("at_id"))
        .values(prev_hash=sa.bindparam("follows"), hash=sa.bindparam("hashed"))
    )
    while True:
        found = sa.select(ENTRIES).order_by(ENTRIES.c.audit_id).limit(ROWS_AT_ONCE)
        if last_id is not None:
            found = found.where(ENTRIES.c.audit_id > last_id)
        rows = connection.execute(found).mappings().all()
        if not rows:
            return
        links = []
        for row in rows:
            follows, last_id = last_hash, row["audit_id"]
            last_hash = _hash(follows, row)
            links.append({"at_id": last_id, "follows": follows, "hashed": last_hash})
        connection.execute(link, links)


def _hash(follows: str, row: sa.RowMapping) -> str:
    texts = [row[name] for name in ("actor", "action", "target", "detail", "outcome", "peer", "plan")]
    fields = ["stoker-audit-1", follows, row["audit_id"], _time(row["at"]), *texts]
    encoded = json.dumps(fields, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(encoded.encode("ascii")).hexdigest()


def _time(stored: Any) -> str:
    at = stored if isinstance(stored, datetime) else datetime.fromisoformat(stored).replace(tzinfo=UTC)
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _triggers(table: str, refused: Sequence[str], *, postgresql: bool) -> list[str]:
    if postgresql:
        return [f"{table}_append_only"]
    names = [f"{table}_no_{verb.lower()}" for verb in refused]
    return [*names, f"{table}_no_replace"] if table in REPLACED else names


def _guard_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION stoker_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; "
        "END $$"
    )
    for table, refused in APPEND_ONLY.items():
        verbs = " OR ".join((*refused, "TRUNCATE") if "DELETE" in refused else refused)
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE {verbs} ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION stoker_append_only()"
        )


def _guard_sqlite() -> None:
    for table, refused in APPEND_ONLY.items():
        message = f"SELECT RAISE(ABORT, '{table} is append-only')"
        for verb in refused:
            op.execute(f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} BEGIN {message}; END")
        if table in REPLACED:  # INSERT OR REPLACE removes a row without asking the trigger on DELETE
            key = REPLACED[table]
            there = f"EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"  # noqa: S608 - our own names
            op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {there} BEGIN {message}; END")
