"""How far each kind is computed, and how far samples and requests are forgotten. Used by `rollups` and its repository."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from controlplane.storage.repositories.statements import put_row
from controlplane.storage.tables import rollup_positions

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Position:
    """All before `done_until`; of the minute or hour that begins there, what is named up to `done_name`."""

    done_until: datetime
    done_name: str = ""


def positions(connection: Connection) -> dict[str, Position]:
    found = connection.execute(select(rollup_positions))
    return {row.kind: Position(row.done_until, row.done_name) for row in found}


def position(connection: Connection, kind: str) -> Position | None:
    row = connection.execute(select(rollup_positions).where(rollup_positions.c.kind == kind)).first()
    return None if row is None else Position(row.done_until, row.done_name)


def put(connection: Connection, kind: str, done_until: datetime, done_name: str = "") -> None:
    put_row(connection, rollup_positions, {"kind": kind, "done_until": done_until, "done_name": done_name})


def minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
