"""What minutes and hours tell of the whole fleet at one moment. Reads only."""

from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, func, select

from controlplane.fleet.past import PastDevice, PastEngine, PastNode
from controlplane.storage.tables import rollups

Fact = TypeVar("Fact")


class Past:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def minute(self, at: datetime) -> tuple[list[PastEngine], list[PastDevice], list[PastNode]]:
        """Everything that the minute beginning `at` tells, by name."""
        tables = rollups.rolled_engine_minutes, rollups.rolled_device_minutes, rollups.rolled_node_minutes
        return self._at("minute_at", at, tables)

    def hour(self, at: datetime) -> tuple[list[PastEngine], list[PastDevice], list[PastNode]]:
        """Everything that the hour beginning `at` tells, by name."""
        tables = rollups.rolled_engine_hours, rollups.rolled_device_hours, rollups.rolled_node_hours
        return self._at("hour_at", at, tables)

    def first_minute(self) -> datetime | None:
        """The oldest minute of any node or engine that is still kept; None when there is none."""
        tables = (rollups.rolled_node_minutes, rollups.rolled_engine_minutes)
        oldest = [self._connection.scalar(select(func.min(table.c.minute_at))) for table in tables]
        known = [at for at in oldest if at is not None]
        return min(known, default=None)

    def _at(
        self, column: str, at: datetime, tables: tuple[Table, Table, Table]
    ) -> tuple[list[PastEngine], list[PastDevice], list[PastNode]]:
        engines, devices, nodes = tables
        return (
            self._facts(PastEngine, engines, column, at),
            self._facts(PastDevice, devices, column, at),
            self._facts(PastNode, nodes, column, at),
        )

    def _facts(self, kind: type[Fact], table: Table, column: str, at: datetime) -> list[Fact]:
        names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        wanted: list[Any] = [table.c[name] for name in names]
        found = select(*wanted).where(table.c[column] == at).order_by(*table.primary_key)
        return [kind(**row) for row in self._connection.execute(found).mappings()]
