"""Marks for what must be computed again, since rows came late. Left in the transaction that writes those rows.

Called by the repositories of samples and requests. A request's minute is always marked: requests have no head to wait for.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, func, select

from controlplane.storage.repositories.statements import add_new_rows
from controlplane.storage.rollups.positions import MINUTE, hour_of, minute_of, position
from controlplane.storage.tables import rollup_marks

REQUEST_MINUTES, REQUEST_HOURS = "request_minutes", "request_hours"
RECOMPUTE_MINUTES = "recompute_minutes"
# What is forgotten can not be computed again from what is left of it.
SOURCES = {
    "engine_minutes": "engine_samples",
    "device_minutes": "device_samples",
    "node_minutes": "node_samples",
    RECOMPUTE_MINUTES: "recompute_samples",
    REQUEST_MINUTES: "request_records",
}


def mark_late(connection: Connection, kind: str, rows: Iterable[tuple[str, datetime]]) -> int:
    """Of samples (engine or node, time) mark the hours that are computed already. How many are older than what is kept.

    Those are in no minute: what is left of their hour would take the place of the whole.
    """
    done = position(connection, kind)
    if done is None:
        return 0
    until = done.done_until + MINUTE if done.done_name else done.done_until
    late = [(name, hour_of(at)) for name, at in rows if at < until]
    return _mark(connection, kind, late) if late else 0


def mark_requests(connection: Connection, rows: Iterable[tuple[str, datetime]]) -> int:
    """Mark the minutes in which requests (engine, time of their end) ended. How many are older than what is kept."""
    return _mark(connection, REQUEST_MINUTES, [(engine_id, minute_of(at)) for engine_id, at in rows])


def names(connection: Connection, kind: str, limit: int, at: datetime | None = None) -> list[str]:
    """The first names that are marked, at a time or at any."""
    marked = select(rollup_marks.c.name).where(*_chosen(kind, at)).distinct()
    return list(connection.scalars(marked.order_by(rollup_marks.c.name).limit(limit)))


def first(connection: Connection, kind: str) -> datetime | None:
    """The earliest that is marked."""
    at: datetime | None = connection.scalar(select(func.min(rollup_marks.c.from_at)).where(rollup_marks.c.kind == kind))
    return at


def remove(connection: Connection, kind: str, upto: str, at: datetime | None = None) -> None:
    """The marks up to a name, at a time or at any."""
    connection.execute(delete(rollup_marks).where(*_chosen(kind, at), rollup_marks.c.name <= upto))


def _chosen(kind: str, at: datetime | None) -> "list[ColumnElement[bool]]":
    return [rollup_marks.c.kind == kind, *([rollup_marks.c.from_at == at] if at else [])]


def _mark(connection: Connection, kind: str, rows: list[tuple[str, datetime]]) -> int:
    forgotten = position(connection, SOURCES[kind])
    kept = rows if forgotten is None else [row for row in rows if row[1] >= forgotten.done_until]
    marks = [{"kind": kind, "from_at": at, "name": name} for name, at in dict.fromkeys(kept)]
    add_new_rows(connection, rollup_marks, marks)
    return len(rows) - len(kept)
