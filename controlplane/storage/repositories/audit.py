"""The audit: who did what from where, and how it ended. Append-only, each entry chained to the one before by its hash.

Appending is serialised by the database, so that a command beside a running control plane cannot fork the chain: SQLite's
write transactions exclude each other, PostgreSQL holds a lock until the end of the transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, text

from controlplane.fleet.audit_chain import ChainedEntry, Link, chained
from controlplane.fleet.history import AuditEntry
from controlplane.storage.column_types import storable
from controlplane.storage.tables import audit_entries

# An advisory lock belongs to one database of a server. The number only has to be ours: "StokA".
_AUDIT_LOCK = 0x53746F6B41
_RECENT_COUNT = 1_000
_FIELDS = ("at", "actor", "action", "target", "detail", "outcome", "peer", "plan")  # as AuditEntry takes them
_COLUMNS = tuple(audit_entries.c[name] for name in ("audit_id", *_FIELDS, "prev_hash", "hash"))


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Oldest first. `truncated`: older ones matched too and were left out."""

    entries: list[ChainedEntry]
    truncated: bool


class AuditEntries:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, entry: AuditEntry) -> None:
        """Write the entry at the end of the chain."""
        self._lock()
        self._write([entry])

    def append_new(self, entries: Sequence[AuditEntry]) -> None:
        """Write those that are not among the newest already: for writers that cannot know whether a commit got through."""
        if not entries:
            return
        self._lock()
        recent = select(*_COLUMNS).order_by(audit_entries.c.audit_id.desc()).limit(_RECENT_COUNT)
        known = {_chained(row).entry for row in self._connection.execute(recent)}
        self._write([entry for entry in map(_storable, entries) if entry not in known])

    def head(self) -> Link:
        """The end of the chain."""
        newest = select(audit_entries.c.audit_id, audit_entries.c.hash).order_by(audit_entries.c.audit_id.desc())
        row = self._connection.execute(newest.limit(1)).first()
        return Link() if row is None else Link(row.audit_id, row.hash)

    def get(self, audit_id: int) -> ChainedEntry | None:
        found = select(*_COLUMNS).where(audit_entries.c.audit_id == audit_id)
        row = self._connection.execute(found).first()
        return None if row is None else _chained(row)

    def after(self, audit_id: int, limit: int) -> list[ChainedEntry]:
        """The entries that come next, in the order of the chain."""
        found = select(*_COLUMNS).where(audit_entries.c.audit_id > audit_id).order_by(audit_entries.c.audit_id)
        return [_chained(row) for row in self._connection.execute(found.limit(limit))]

    def page(
        self, since: datetime | None = None, limit: int = 200, actor: str = "", action: str = "", audit_id: int = 0
    ) -> AuditPage:
        """The newest `limit` entries that match, oldest first; "" and 0 match all."""
        found = _matching(since, actor, action)
        if audit_id:
            found = found.where(audit_entries.c.audit_id == audit_id)
        newest_first = [_chained(row) for row in self._connection.execute(found.limit(limit + 1))]
        return AuditPage(newest_first[:limit][::-1], truncated=len(newest_first) > limit)

    def list(self, since: datetime | None = None, limit: int = 200, actor: str = "") -> list[AuditEntry]:
        """The newest `limit` entries, oldest first, in the order in which they were written; "" matches all."""
        return [each.entry for each in self.page(since, limit, actor).entries]

    def _lock(self) -> None:
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _AUDIT_LOCK})

    def _write(self, entries: Sequence[AuditEntry]) -> None:
        head, rows = self.head(), []
        for entry in map(_storable, entries):
            link = chained(head, entry)
            head = Link(link.audit_id, link.hash)
            rows.append(
                {
                    **{name: getattr(entry, name) for name in _FIELDS},
                    "audit_id": link.audit_id,
                    "prev_hash": link.prev_hash,
                    "hash": link.hash,
                }
            )
        if rows:
            self._connection.execute(insert(audit_entries), rows)


def _storable(entry: AuditEntry) -> AuditEntry:
    """As it will be read again: the hash is over what is stored."""
    return AuditEntry(entry.at, *(storable(getattr(entry, name)) for name in _FIELDS if name != "at"))


def _matching(since: datetime | None, actor: str, action: str) -> Select[Any]:
    found = select(*_COLUMNS).order_by(audit_entries.c.audit_id.desc())
    if since is not None:
        found = found.where(audit_entries.c.at >= since)
    if actor:
        found = found.where(audit_entries.c.actor == actor)
    if action:
        found = found.where(audit_entries.c.action == action)
    return found


def _chained(row: Row[Any]) -> ChainedEntry:
    values: tuple[Any, ...] = tuple(row)
    return ChainedEntry(values[0], AuditEntry(*values[1:-2]), values[-2], values[-1])
