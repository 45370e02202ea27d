"""The views that people ask, and the role on PostgreSQL that may read them and nothing else.

Their texts, frozen as they were on this day, are in the file of this name that ends in `.sql`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from alembic import op

revision: str = "2026_11_24_views"
down_revision: str | None = "2026_11_24_leases"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Arithmetic with times is all that differs: `NOW()` and `SECONDS_BETWEEN(a, b)` stand for it in the file.
NOW = {"sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')", "postgresql": "CURRENT_TIMESTAMP"}
BETWEEN = {
    "sqlite": r"ROUND((julianday(\2) - julianday(\1)) * 86400, 3)",
    "postgresql": r"ROUND(CAST(EXTRACT(EPOCH FROM \2 - \1) AS numeric), 3)",
}
SPAN = re.compile(r"SECONDS_BETWEEN\(([\w.]+(?:\(\))?), ([\w.]+(?:\(\))?)\)")
CREATE = re.compile(r"^CREATE VIEW (\w+) AS\n(.+?);\n", re.DOTALL | re.MULTILINE)
READER = "stoker_reader"

# The role is the cluster's, so another database may have made it. Who may not make roles leaves it to the administrator:
# then `stoker sql` says what is to be run.
ROLE = f"""
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{READER}') THEN
    CREATE ROLE {READER} NOLOGIN;
  END IF;
  GRANT {READER} TO CURRENT_USER;
EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
  NULL;
END
$$
"""
HAS_ROLE = f"SELECT count(*) FROM pg_roles WHERE rolname = '{READER}'"  # noqa: S608 - a constant


def upgrade() -> None:
    connection = op.get_bind()
    dialect = connection.dialect.name
    frozen = _frozen()
    for name, text in frozen.items():
        _run(f"CREATE VIEW {name} AS {SPAN.sub(BETWEEN[dialect], text).replace('NOW()', NOW[dialect])}")
    if dialect == "postgresql":
        _run(ROLE)
        if connection.exec_driver_sql(HAS_ROLE).scalar():
            _run(f"GRANT SELECT ON engine_intervals, {', '.join(frozen)} TO {READER}")
            _grant_schema("GRANT USAGE ON SCHEMA", "TO")


def downgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql" and connection.exec_driver_sql(HAS_ROLE).scalar():
        # The role itself stays: other databases of the cluster may use it.
        _run(f"REVOKE ALL ON engine_intervals FROM {READER}")
        _grant_schema("REVOKE USAGE ON SCHEMA", "FROM")
    for name in _frozen():
        _run(f"DROP VIEW {name}")


def _frozen() -> dict[str, str]:
    return dict(CREATE.findall(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")))


def _grant_schema(grant: str, towards: str) -> None:
    """Only the schema's owner may grant it; usually everybody may use it anyway."""
    _run(
        f"DO $$ BEGIN EXECUTE format('{grant} %I {towards} {READER}', current_schema()); "
        "EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
    )


def _run(text: str) -> None:
    # The drivers read a % as the beginning of a parameter on PostgreSQL only.
    connection = op.get_bind()
    connection.exec_driver_sql(text.replace("%", "%%") if connection.dialect.name == "postgresql" else text)
