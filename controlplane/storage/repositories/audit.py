"""The audit: who did what from where, and how it ended. Append-only."""

from datetime import datetime

from sqlalchemy import Connection, insert, select

from controlplane.fleet.history import AuditEntry
from controlplane.storage.tables import audit_entries

_FIELDS = [column.name for column in audit_entries.columns if column.name != "audit_id"]


class AuditEntries:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, entry: AuditEntry) -> None:
        self._connection.execute(insert(audit_entries), {name: getattr(entry, name) for name in _FIELDS})

    def list(self, since: datetime | None = None, limit: int = 200, actor: str = "") -> list[AuditEntry]:
        """The newest `limit` entries, oldest first, in the order in which they were written; "" matches all."""
        found = select(*(audit_entries.c[name] for name in _FIELDS)).order_by(audit_entries.c.audit_id.desc())
        if since is not None:
            found = found.where(audit_entries.c.at >= since)
        if actor:
            found = found.where(audit_entries.c.actor == actor)
        return [AuditEntry(**row) for row in self._connection.execute(found.limit(limit)).mappings()][::-1]
