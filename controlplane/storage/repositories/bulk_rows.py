"""Many facts of one kind into one table, as fast as each database takes them. Used by the repositories of history.

A fact's fields are the table's columns. On SQLite it is one prepared INSERT for all rows; on PostgreSQL COPY into a temporary
table and one INSERT from there, which costs the daemon a third of what single INSERTs do. Values are made ready by column, so
that what repeats (a time, a name) is done once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from operator import attrgetter
from typing import Any, Generic, TypeVar

import psycopg
from sqlalchemy import Connection, Dialect, Float, Table
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")

Values = Sequence[Any]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one database takes the rows."""

    statement: str  # SQLite: takes the values; PostgreSQL: takes the rows that were copied
    each: tuple[tuple[int, Callable[[Values], Values]], ...]  # column → what makes its values ready
    prepare: str = ""
    copy: str = ""
    empty: str = ""


class BulkRows(Generic[T]):
    """`fact`: a dataclass whose fields are columns of `table`. `replace`: a row with the same key is replaced, not left."""

    def __init__(self, table: Table, fact: type[T], *, replace: bool = False) -> None:
        self._table = table
        self._names = [field.name for field in fields(fact)]  # type: ignore[arg-type] # T is a dataclass
        self._values = attrgetter(*self._names)
        self._replace = replace
        self._plans: dict[str, _Plan] = {}

    def write(self, connection: Connection, facts: Sequence[T]) -> None:
        """Of facts with one key in one call, only one may come where rows are replaced."""
        if not facts:
            return
        plan = self._plans.get(connection.dialect.name)
        if plan is None:
            plan = self._plans[connection.dialect.name] = self._planned(connection.dialect)
        columns: list[Values] = list(zip(*map(self._values, facts), strict=True))
        for index, ready in plan.each:
            columns[index] = ready(columns[index])
        rows = list(zip(*columns, strict=True))
        if plan.copy:
            _copy(connection, plan, rows)
        else:
            connection.exec_driver_sql(plan.statement, rows)

    def _planned(self, dialect: Dialect) -> _Plan:
        quote = dialect.identifier_preparer.quote
        table, names = quote(self._table.name), ", ".join(quote(name) for name in self._names)
        keys = [column.name for column in self._table.primary_key]
        changed = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in self._names if name not in keys)
        conflict = f"ON CONFLICT ({', '.join(map(quote, keys))}) DO " + (
            f"UPDATE SET {changed}" if self._replace else "NOTHING"
        )
        each = tuple(
            (index, ready)
            for index, name in enumerate(self._names)
            if (ready := _ready(self._table.columns[name].type, dialect)) is not None
        )
        if dialect.name != "postgresql":
            marks = ", ".join("?" for _ in self._names)
            return _Plan(f"INSERT INTO {table} ({names}) VALUES ({marks}) {conflict}", each)  # noqa: S608 - our names
        incoming = quote(f"incoming_{self._table.name}")
        return _Plan(
            f"INSERT INTO {table} ({names}) SELECT {names} FROM {incoming} {conflict}",  # noqa: S608 - our names
            each,
            prepare=f"CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} (LIKE {table}) ON COMMIT DELETE ROWS",
            copy=f"COPY {incoming} ({names}) FROM STDIN",
            empty=f"TRUNCATE {incoming}",
        )


def _copy(connection: Connection, plan: _Plan, rows: Sequence[Values]) -> None:
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor:
            cursor.execute(plan.prepare)
            with cursor.copy(plan.copy) as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(plan.statement)
            cursor.execute(plan.empty)  # another batch may come in the same transaction
    except psycopg.Error as error:
        raise DBAPIError.instance(plan.copy, None, error, psycopg.Error, hide_parameters=True) from error


def _ready(column_type: Any, dialect: Dialect) -> Callable[[Values], Values] | None:
    if isinstance(column_type, Float):
        return _finite
    process = column_type.dialect_impl(dialect).bind_processor(dialect)
    return None if process is None else _once_each(process)


def _finite(values: Values) -> Values:
    """One NaN would make every later sum NaN."""
    return [value if value is None or isfinite(value) else None for value in values]


def _once_each(process: Callable[[Any], Any]) -> Callable[[Values], Values]:
    def ready(values: Values) -> Values:
        done: dict[Any, Any] = {}
        return [done[value] if value in done else done.setdefault(value, process(value)) for value in values]

    return ready
