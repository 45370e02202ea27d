"""Asks PostgreSQL as the role that may read the views and nothing else, in a transaction that only reads.

Blocking; called by `asker` on a thread of its own. Each question has a connection of its own, so that nothing of it stays. The
question is prepared alone first: what is one whole statement by itself cannot end the brackets that are put around it then.
"""

import json
import secrets
from contextlib import closing, suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.raw_cursor import RawCursor
from sqlalchemy import URL

from controlplane.errors import ConfigurationError, ConflictError, DatabaseAwayError, InvalidInputError, StokerError
from controlplane.storage.asking.checking import Checked, called, checked
from controlplane.storage.asking.functions import POSTGRESQL
from controlplane.storage.asking.lexing import Kind, where
from controlplane.storage.asking.question import Answer, Question, Rows, Running, Value
from controlplane.storage.views import READER_ROLE, VIEWS

_VIEWS = tuple(view.name for view in VIEWS)
VIEWS_LISTED = "views: " + ", ".join(_VIEWS)
_CONNECT_SECONDS_MAX = 5
_ROW_BYTES_MAX = 1024 * 1024
_FETCH_COUNT = 500
_WHOLE_MAX = 2**63 - 1
_TOO_LONG = "is too long for a row of an answer"
_SETTINGS = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET LOCAL standard_conforming_strings TO on",
    "SET LOCAL timezone TO 'UTC'",
    "SET LOCAL datestyle TO 'ISO'",
    "SET LOCAL lock_timeout TO '1s'",
    "SET LOCAL work_mem TO '32MB'",
    "SET LOCAL max_parallel_workers_per_gather TO 0",
    "SET LOCAL jit TO off",
)
_NO_ROLE, _DENIED, _NO_TABLE, _CANCELLED, _LOCKED, _NO_SPACE_FOR_IT = (
    "22023",
    "42501",
    "42P01",
    "57014",
    "55P03",
    "53400",
)
_NOT_A_TRUTH = "22P02"
_THEIR_FAULT = ("0A", "21", "22", "25", "2F", "42", "54")  # classes of SQLSTATE


def ask_postgresql(url: URL, question: Question, running: Running) -> Answer:
    """Raises InvalidInputError for what is not answered, ConflictError for what was ended, ConfigurationError when the
    role is missing, DatabaseAwayError."""
    asked = checked(question.sql, question.parameters, "postgresql")
    numbered = _Numbered(asked)
    user = url.username or "the user of the database URL"
    try:
        with closing(_connect(url)) as connection:
            user = connection.info.user or user
            running.on_abandon(connection.cancel)
            return _answer(connection, asked, numbered, question, running)
    except psycopg.Error as error:
        raise _ours(error, asked, numbered, running, user) from error


class _Numbered:
    """The question with its parameters by number, as PostgreSQL takes them, and the way back to places in what was asked."""

    def __init__(self, asked: Checked) -> None:
        names = list(asked.parameters)
        self.values = tuple(asked.parameters.values())
        self._shifts: list[tuple[int, int]] = []
        pieces, place, length = [], 0, 0
        for token in asked.tokens:
            if token.kind is Kind.PARAMETER:
                number = f"${names.index(token.value) + 1}"
                pieces += [asked.text[place : token.start], number]
                length += token.start - place + len(number)
                place = token.end
                self._shifts.append((length, token.end))
        self.text = "".join((*pieces, asked.text[place:]))

    def place(self, position: int) -> int:
        """Where in what was asked the character stands that is at `position` here, both from 0."""
        before = [(here, there) for here, there in self._shifts if here <= position]
        here, there = before[-1] if before else (0, 0)
        return there + position - here


def _connect(url: URL) -> "psycopg.Connection[Any]":
    _, arguments = url.get_dialect()().create_connect_args(url)
    told: dict[str, Any] = {key: value for key, value in arguments.items() if key != "context"}
    own: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS_MAX, "fallback_application_name": "stoker-sql"}
    return psycopg.connect(**{**own, **told}, cursor_factory=RawCursor)


def _answer(
    connection: "psycopg.Connection[Any]", asked: Checked, numbered: _Numbered, question: Question, running: Running
) -> Answer:
    _confine(connection, running)
    _refuse_functions(connection, asked)
    prepared = connection.pgconn.prepare(b"", numbered.text.encode())
    if prepared.status != pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(prepared)
    around = f"stoker_{secrets.token_hex(8)}"  # no column of the question has this name
    connection.execute(
        f"DECLARE asked NO SCROLL CURSOR FOR SELECT {around}.* FROM (\n{numbered.text}\n) AS {around} "  # noqa: S608 - prepared alone before
        f"WHERE CASE WHEN octet_length(CAST({around} AS text)) <= {_ROW_BYTES_MAX} THEN true "
        f"ELSE CAST(octet_length(CAST({around} AS text)) || ' bytes {_TOO_LONG}' AS boolean) END",
        numbered.values,
    )
    rows = Rows(question.rows_max)
    columns: tuple[str, ...] = ()
    while True:
        if running.over:
            raise running.ended()
        _limit_time(connection, running)
        found = connection.execute(f"FETCH FORWARD {min(_FETCH_COUNT, question.rows_max + 1)} FROM asked")
        columns = tuple(column.name for column in found.description or ())
        fetched = found.fetchall()
        if not fetched or not all(rows.add(tuple(_plain(value) for value in row)) for row in fetched):
            return Answer(columns, tuple(rows.rows), rows.truncated, running.seconds, "postgresql")


def _confine(connection: "psycopg.Connection[Any]", running: Running) -> None:
    for setting in _SETTINGS:
        connection.execute(setting)
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute("SET LOCAL temp_file_limit TO '1GB'")  # a superuser's to set; others have the server's
    schema = connection.execute("SELECT current_schema()").fetchone()
    connection.execute(
        sql.SQL("SET LOCAL search_path TO pg_catalog, {}").format(sql.Identifier(str(schema and schema[0])))
    )
    _limit_time(connection, running)
    connection.execute(f"SET LOCAL ROLE {READER_ROLE}")


def _limit_time(connection: "psycopg.Connection[Any]", running: Running) -> None:
    connection.execute(f"SET LOCAL statement_timeout TO {max(1, int(running.seconds_left * 1000))}")


def _refuse_functions(connection: "psycopg.Connection[Any]", asked: Checked) -> None:
    """What stands before a bracket and is not listed must at least be no function."""
    unknown = {name: token for name, token in called(asked.tokens).items() if name not in POSTGRESQL}
    found = connection.execute("SELECT proname FROM pg_proc WHERE proname = ANY($1)", (list(unknown),)).fetchall()
    for (name,) in found:
        raise InvalidInputError(
            f"the function {name} is not answered ({where(asked.text, unknown[name].start)}); "
            f"these are: {', '.join(sorted(POSTGRESQL))}"
        )


def _plain(value: Any) -> Value:
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _WHOLE_MAX else float(value)
    if isinstance(value, Decimal):
        whole = value.is_finite() and value == value.to_integral_value() and abs(value) <= _WHOLE_MAX
        return int(value) if whole else float(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)


def _ours(error: psycopg.Error, asked: Checked, numbered: _Numbered, running: Running, user: str) -> StokerError:
    state = error.sqlstate or ""
    said = (error.diag.message_primary or str(error)).strip()
    if state == _CANCELLED:
        return running.ended()
    if state in (_NO_ROLE, _DENIED):
        return _not_allowed(said, user, role_exists=state != _NO_ROLE)
    if state == _NOT_A_TRUTH and _TOO_LONG in said:
        return InvalidInputError(f"a row grew beyond {_ROW_BYTES_MAX // 1024} KiB: ask for less at once")
    if state == _NO_TABLE:
        return InvalidInputError(f"{said}{_place(error, asked, numbered)}; {VIEWS_LISTED}")
    if state in (_LOCKED, _NO_SPACE_FOR_IT):
        return ConflictError(f"ended: {said}; ask for a shorter time, or try again")
    if state[:2] in _THEIR_FAULT or isinstance(error, psycopg.DataError):
        hint = f"; {error.diag.message_hint}" if error.diag.message_hint else ""
        return InvalidInputError(f"{said}{_place(error, asked, numbered)}{hint}")
    return DatabaseAwayError(f"the database is away: {said.splitlines()[0] if said else type(error).__name__}")


def _not_allowed(said: str, user: str, *, role_exists: bool) -> StokerError:
    named = next((name for name in _VIEWS if said.endswith(f" {name}")), None)
    if named is None and READER_ROLE not in said and "schema" not in said:
        return InvalidInputError(f"{said}: only the views are for asking; {VIEWS_LISTED}")
    make = "" if role_exists else f"CREATE ROLE {READER_ROLE} NOLOGIN; "
    owner = '"' + user.replace('"', '""') + '"'
    return ConfigurationError(
        f"questions need the role {READER_ROLE}, which is not there or not granted ({said}). A PostgreSQL administrator "
        f"runs, connected to this database: {make}GRANT {READER_ROLE} TO {owner}; "
        f"GRANT USAGE ON SCHEMA public TO {READER_ROLE}; GRANT SELECT ON {', '.join(_VIEWS)} TO {READER_ROLE};"
    )


def _place(error: psycopg.Error, asked: Checked, numbered: _Numbered) -> str:
    position = error.diag.statement_position
    if position is None or not position.isdigit():
        return ""
    return f" ({where(asked.text, numbered.place(int(position) - 1))})"
