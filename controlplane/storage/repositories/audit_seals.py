"""Seals of the audit: what its head was at a moment, signed. Append-only, numbered without gaps."""

from sqlalchemy import Connection, insert, select

from controlplane.fleet.audit_chain import Seal
from controlplane.storage.tables import audit_seals


class AuditSeals:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, seal: Seal) -> None:
        row = {column.name: getattr(seal, column.name) for column in audit_seals.columns}
        self._connection.execute(insert(audit_seals), row)

    def newest(self) -> Seal | None:
        found = select(audit_seals).order_by(audit_seals.c.seal_id.desc()).limit(1)
        row = self._connection.execute(found).mappings().first()
        return None if row is None else Seal(**row)

    def after(self, seal_id: int, limit: int, until_audit_id: int | None = None) -> list[Seal]:
        """The seals that come next, in the order of their numbers; with `until_audit_id` only those up to that entry."""
        found = select(audit_seals).where(audit_seals.c.seal_id > seal_id).order_by(audit_seals.c.seal_id)
        if until_audit_id is not None:
            found = found.where(audit_seals.c.audit_id <= until_audit_id)
        return [Seal(**row) for row in self._connection.execute(found.limit(limit)).mappings()]
