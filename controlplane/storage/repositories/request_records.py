"""Records of requests, as nodes delivered them, and how far each node's spool is stored."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, delete, select

from controlplane.fleet.node_records import RequestRecord, RequestRow, SpoolPosition
from controlplane.storage.repositories.statements import add_new_rows, put_rows
from controlplane.storage.rollups.marks import mark_requests
from controlplane.storage.tables.records import request_records, spool_positions

_FIELDS = [field.name for field in fields(RequestRecord)]
_VALUES = attrgetter(*_FIELDS)


class RequestRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append_many(self, rows: Sequence[RequestRow]) -> None:
        """Write rows; one that is there already (node, spool and number) is left as it is. Their minutes are marked."""
        add_new_rows(self._connection, request_records, [_row(row) for row in rows])
        mark_requests(self._connection, ((row.record.engine_id, row.record.finished_at) for row in rows))

    def list(self, since: datetime, until: datetime, limit: int = 1000) -> list[RequestRow]:
        """Those that finished in [since, until), the first ones first."""
        finished_at = request_records.c.finished_at
        found = select(request_records).where(finished_at >= since, finished_at < until)
        ordered = found.order_by(finished_at, *request_records.primary_key).limit(limit)
        return [_fact(dict(row)) for row in self._connection.execute(ordered).mappings()]


class SpoolPositions:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, node: str, spool_id: str) -> SpoolPosition | None:
        wanted = (spool_positions.c.node == node, spool_positions.c.spool_id == spool_id)
        row = self._connection.execute(select(spool_positions).where(*wanted)).mappings().first()
        return None if row is None else SpoolPosition(**row)

    def of_node(self, node: str, limit: int = 20) -> list[SpoolPosition]:
        """The node's spools, the one that moved last first."""
        found = select(spool_positions).where(spool_positions.c.node == node)
        newest = found.order_by(spool_positions.c.updated_at.desc()).limit(limit)
        return [SpoolPosition(**row) for row in self._connection.execute(newest).mappings()]

    def put_many(self, positions: Sequence[SpoolPosition]) -> None:
        put_rows(self._connection, spool_positions, [asdict(position) for position in positions])

    def remove_before(self, at: datetime) -> int:
        """Forget spools that nothing came from since. How many went."""
        return self._connection.execute(delete(spool_positions).where(spool_positions.c.updated_at < at)).rowcount


def _row(row: RequestRow) -> dict[str, Any]:
    return {
        "node": row.node,
        "spool_id": row.spool_id,
        "sequence": row.sequence,
        "provider": row.provider,
        "region": row.region,
        **dict(zip(_FIELDS, _VALUES(row.record), strict=True)),
    }


def _fact(row: dict[str, Any]) -> RequestRow:
    record = RequestRecord(**{name: row.pop(name) for name in _FIELDS})
    return RequestRow(**row, record=record)
