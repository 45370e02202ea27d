"""Asks a SQLite file, on a connection that can only read and an authorizer that lets only the views be read.

Blocking; called by `asker` on a thread of its own. Nothing is shared with the daemon's connections, and in WAL mode a reader
holds up no writer.
"""

import re
import resource
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from controlplane.errors import DatabaseAwayError, InvalidInputError, StokerError
from controlplane.storage.asking.checking import Checked, checked, defined
from controlplane.storage.asking.functions import SQLITE
from controlplane.storage.asking.lexing import Kind, where
from controlplane.storage.asking.question import Answer, Question, Rows, Running, Value
from controlplane.storage.driver_errors import MIGRATE_HINT
from controlplane.storage.views import VIEWS

_VIEWS = frozenset(view.name for view in VIEWS)
_LISTS = frozenset({"json_each", "json_tree"})  # tables made of a value
_VALUE_BYTES_MAX = 512 * 1024
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: _VALUE_BYTES_MAX,  # of a value, and of a row on its way
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 400_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 250,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 250_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 50,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_STEPS_BETWEEN_LOOKS = 10_000  # of SQLite's machine: less than a millisecond
_DISK_BYTES_MAX = 1024**3  # what sorting and grouping may write aside
_FETCH_COUNT = 200
_ERROR, _TOO_BIG, _INTERRUPT, _AUTH, _RANGE, _CANTOPEN = 1, 18, 9, 23, 25, 14
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_REAL = re.compile(r"-?(0|[1-9]\d{0,15})\.\d{1,15}")
_STORED_TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{6}")
_NEAR = re.compile(r'near "(.+)": syntax error', re.DOTALL)
VIEWS_LISTED = "views: " + ", ".join(view.name for view in VIEWS)


def ask_sqlite(file: Path, question: Question, running: Running) -> Answer:
    """Raises InvalidInputError for what is not answered, ConflictError for what was ended, DatabaseAwayError."""
    asked = checked(question.sql, question.parameters, "sqlite")
    guard = _Guard(frozenset(defined(asked.tokens)))
    try:
        with closing(_connect(file)) as connection:
            _refuse_masks(connection, asked)
            connection.set_authorizer(guard)
            connection.set_progress_handler(_look(running), _STEPS_BETWEEN_LOOKS)
            cursor = connection.execute(asked.text, {name: _typed(it) for name, it in asked.parameters.items()})
            rows = Rows(question.rows_max)
            while (found := cursor.fetchmany(min(_FETCH_COUNT, question.rows_max + 1))) and all(
                rows.add(tuple(_plain(value) for value in row)) for row in found
            ):
                if running.over:
                    raise running.ended()
            columns = tuple(str(column[0]) for column in cursor.description or ())
            return Answer(columns, tuple(rows.rows), rows.truncated, running.seconds, "sqlite")
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _ours(error, asked, guard, running) from error


class _Guard:
    """SQLite's question before everything that a statement would do: whether it may."""

    def __init__(self, defined: frozenset[str]) -> None:
        self.refused = ""
        self._defined = defined
        self._behind: set[str] = set()  # tables that the views of this statement read

    def __call__(self, action: int, first: str | None, second: str | None, _file: str | None, view: str | None) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            table = (first or "").lower()
            if (view or "").lower() in _VIEWS:
                self._behind.add(table)
                return sqlite3.SQLITE_OK
            # A view that is resolved into its table reads it once more, of itself and without a column. So is what the
            # question defines, and that is no table: see `_refuse_masks`.
            if table in _VIEWS or table in _LISTS or (not second and table in self._behind | self._defined):
                return sqlite3.SQLITE_OK
            self._refuse(f"{first} is not for asking; {VIEWS_LISTED}")
        elif action == sqlite3.SQLITE_FUNCTION:
            if (second or "").lower() in SQLITE:
                return sqlite3.SQLITE_OK
            self._refuse(f"the function {second} is not answered; these are: {', '.join(sorted(SQLITE))}")
        else:
            self._refuse("only questions are answered, and nothing is changed: write a SELECT over the views")
        return sqlite3.SQLITE_DENY

    def _refuse(self, why: str) -> None:
        self.refused = self.refused or why


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(file))}?mode=ro", uri=True, isolation_level=None, timeout=1.0, cached_statements=0
    )
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.execute("PRAGMA query_only = ON")
    # What is set up at first use, while it may be.
    connection.execute("SELECT 1 FROM sqlite_schema, json_each(NULL), json_tree(NULL)").fetchone()
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    return connection


def _refuse_masks(connection: sqlite3.Connection, asked: Checked) -> None:
    """The guard is told a name and cannot know whether it is a view's, a table's, or one that the question has made up."""
    taken = {str(name).lower() for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    taken |= {str(name).lower() for (name,) in connection.execute("PRAGMA module_list")}
    for name, token in defined(asked.tokens).items():
        if name in taken or name.startswith(("sqlite_", "pragma_")):
            raise InvalidInputError(
                f"{token.value} is taken: give what you define another name ({where(asked.text, token.start)})"
            )


def _look(running: Running) -> Callable[[], int]:
    written_before = resource.getrusage(resource.RUSAGE_THREAD).ru_oublock

    def end() -> int:
        written = (resource.getrusage(resource.RUSAGE_THREAD).ru_oublock - written_before) * 512
        if written > _DISK_BYTES_MAX:
            running.problem = "ended: sorting and grouping took more than 1 GiB of disk; ask for a shorter time"
        return int(running.over or bool(running.problem))

    return end


def _typed(text: str) -> str | int | float:
    """Numbers as numbers: a column of numbers is never equal to a text. A column of texts takes either."""
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _REAL.fullmatch(text) and str(float(text)) == text else text


def _plain(value: Any) -> Value:
    if isinstance(value, str) and _STORED_TIME.fullmatch(value):
        return _as_time(value)
    if isinstance(value, bytes):
        return value.hex()
    plain: Value = value
    return plain


def _as_time(value: str) -> Value:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    except ValueError:
        return value


def _ours(error: Exception, asked: Checked, guard: _Guard, running: Running) -> StokerError:
    said = str(error)
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if guard.refused:
        return InvalidInputError(guard.refused)
    if primary == _INTERRUPT:
        return running.ended()
    if primary == _TOO_BIG:
        return InvalidInputError(f"a value grew beyond {_VALUE_BYTES_MAX // 1024} KiB: ask for less at once")
    if primary == _CANTOPEN:
        return DatabaseAwayError(
            "the database's file cannot be opened to read: is the control plane running beside it?"
        )
    if "no such table: " in said:
        name = said.rpartition(": ")[2]
        if name.removeprefix("main.") in _VIEWS:
            return DatabaseAwayError(f"the database lacks {name}: {MIGRATE_HINT}")
        return InvalidInputError(f"there is no view {name}; {VIEWS_LISTED}")
    if primary in (_ERROR, _RANGE, _AUTH, None) or isinstance(error, sqlite3.ProgrammingError):
        return InvalidInputError(said + _place(said, asked))
    return DatabaseAwayError(f"the database is away: {said}")


def _place(said: str, asked: Checked) -> str:
    """SQLite tells what it stumbled over; where, when there is only one of it."""
    near = _NEAR.fullmatch(said)
    if near is None:
        return ""
    places = [
        it.start for it in asked.tokens if asked.text[it.start : it.end] == near[1] and it.kind is not Kind.STRING
    ]
    return f" ({where(asked.text, places[0])})" if len(places) == 1 else ""
