"""What the two databases say differently, and the small expressions that all rollups share. Used by `rollups` only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, bindparam, text

from controlplane.storage.column_types import UtcTimestamp


@dataclass(frozen=True, slots=True)
class Words:
    dialect: str

    @property
    def on_postgresql(self) -> bool:
        return self.dialect == "postgresql"

    @property
    def time_type(self) -> str:
        return "TIMESTAMPTZ" if self.on_postgresql else "TEXT"

    def minute_of(self, at: str) -> str:
        """The beginning of the minute that a time lies in."""
        return f"date_trunc('minute', {at})" if self.on_postgresql else f"(substr({at}, 1, 16) || '\\:00.000000')"

    def hour_of(self, at: str) -> str:
        return f"date_trunc('hour', {at})" if self.on_postgresql else f"(substr({at}, 1, 13) || '\\:00\\:00.000000')"

    def value_at_last(self, value: str, at: str) -> str:
        """An aggregate: the text `value` of the row with the latest `at`; of equally late ones the greatest."""
        if self.on_postgresql:
            return f"(ARRAY_AGG({value} ORDER BY {at} DESC, {value} DESC))[1]"
        return f"substr(MAX({at} || {value}), 27)"  # a time is 26 characters


def words(connection: Connection) -> Words:
    return Words(connection.dialect.name)


def execute(connection: Connection, statement: str, **values: Any) -> CursorResult[Any]:
    """Run it with those of the values that it names."""
    named = {name: value for name, value in values.items() if f":{name}" in statement}
    times = [bindparam(name, type_=UtcTimestamp) for name, value in named.items() if isinstance(value, datetime)]
    return connection.execute(text(statement).bindparams(*times), named)


def larger(a: str, b: str) -> str:
    """Of two that may be NULL the known one, or the larger one."""
    return f"CASE WHEN {b} IS NULL OR {a} >= {b} THEN {a} ELSE {b} END"


def smaller(a: str, b: str) -> str:
    """NULL when one of them is."""
    return f"CASE WHEN {a} <= {b} THEN {a} WHEN {b} < {a} THEN {b} END"


def upsert(
    table: str, keys: "tuple[str, ...]", columns: "tuple[str, ...]", rows: str, changed: "tuple[str, ...] | None" = None
) -> str:
    """INSERT the rows of a SELECT (which has a WHERE at its end or a GROUP BY); where the key is there, replace."""
    replaced = [name for name in columns if name not in keys] if changed is None else changed
    sets = ", ".join(f"{name} = excluded.{name}" for name in replaced)
    return f"INSERT INTO {table} ({', '.join(columns)})\n{rows}\nON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sets}"
