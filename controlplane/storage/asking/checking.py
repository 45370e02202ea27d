"""What can be said of a question before a database sees it. Pure; used by the two askers.

The databases' own guards (SQLite's authorizer, PostgreSQL's role) decide what may be read. The askers refuse by this what those
cannot: on PostgreSQL every function that is not listed, since one that carries out SQL from a string, or sets the role, would
get around the role; on SQLite a definition by the name of a view, since the authorizer takes what is inside it for the view's.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from controlplane.errors import InvalidInputError
from controlplane.storage.asking.functions import POSTGRESQL
from controlplane.storage.asking.lexing import Kind, Token, tokens, where

SQL_LENGTH_MAX = 100_000
_BEGINNINGS = {"select", "with", "values", "("}
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}"
    r"((?P<between>[T ])\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(?P<zone>Z|[+-]\d{2}(:?\d{2})?)?)?"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A question that may be tried. `text` is as long as what was asked, so places in it are the same."""

    text: str  # without comments
    tokens: tuple[Token, ...]
    parameters: dict[str, str]


def checked(sql: str, parameters: Mapping[str, str], dialect: str) -> Checked:
    """Raises InvalidInputError, saying what is not answered and where."""
    if len(sql) > SQL_LENGTH_MAX:
        raise InvalidInputError(f"the question is longer than {SQL_LENGTH_MAX:,} characters")
    found = tokens(sql, dialect)
    while found and found[-1].value == ";":
        found.pop()
    if not found:
        raise InvalidInputError("there is no question: write a SELECT over the views, which `stoker sql --views` lists")
    another = next((token for token in found if token.value == ";" and token.kind is Kind.SYMBOL), None)
    if another is not None:
        raise InvalidInputError(f"one statement at a time: there is more after the ; ({where(sql, another.start)})")
    if found[0].value not in _BEGINNINGS or found[0].kind not in (Kind.WORD, Kind.SYMBOL):
        raise InvalidInputError(
            f"only questions are answered: write SELECT, not {sql[found[0].start : found[0].end]!a}"
        )
    if dialect == "postgresql":
        _refuse_system(sql, found)
    for token in found:
        if token.kind is Kind.STRING:
            _check_time(token.value, dialect)
    given = _parameters(found, parameters)
    return Checked(_text(sql, found), tuple(found), {name: _value(name, given[name], dialect) for name in given})


def called(found: Iterable[Token]) -> dict[str, Token]:
    """Names before a bracket: functions, and whatever else is written so."""
    return {
        token.value: token
        for token, after in pairwise(found)
        if token.kind in (Kind.WORD, Kind.QUOTED) and after.kind is Kind.SYMBOL and after.value == "("
    }


def defined(found: Sequence[Token]) -> dict[str, Token]:
    """What the question defines by itself, in lower case: the names in WITH."""
    names = {}
    for place, token in enumerate(found):
        if token.kind is not Kind.SYMBOL:
            after = place + 1
            if _is(found, after, "("):
                after = _closed(found, after) + 1
            if _defines(found, after):
                names[token.value.lower()] = token
    return names


def _defines(found: Sequence[Token], place: int) -> bool:
    """AS [[NOT] MATERIALIZED] ( stands there."""
    if not _is(found, place, "as"):
        return False
    place += 1 + _is(found, place + 1, "not")
    return _is(found, place + _is(found, place, "materialized"), "(")


def _is(found: Sequence[Token], place: int, value: str) -> bool:
    return place < len(found) and found[place].value == value and found[place].kind in (Kind.WORD, Kind.SYMBOL)


def _closed(found: Sequence[Token], place: int) -> int:
    depth = 0
    for at in range(place, len(found)):
        if found[at].kind is Kind.SYMBOL:
            depth += {"(": 1, ")": -1}.get(found[at].value, 0)
            if depth == 0:
                return at
    return len(found)


def _refuse_system(sql: str, found: Sequence[Token]) -> None:
    for token, after in pairwise(found):
        if token.value == "for" and token.kind is Kind.WORD and after.value in ("update", "share", "no", "key"):
            raise InvalidInputError(
                f"nothing is locked: leave FOR {after.value.upper()} out ({where(sql, token.start)})"
            )
    functions = called(found)
    for token in found:
        if token.kind in (Kind.WORD, Kind.QUOTED) and token.value not in POSTGRESQL:
            hidden = token.value.startswith("pg_") or token.value == "information_schema"
            if hidden and token.value in functions:
                raise InvalidInputError(f"the function {token.value} is not answered ({where(sql, token.start)})")
            if hidden:
                raise InvalidInputError(f"{token.value} is not for asking ({where(sql, token.start)})")


def _parameters(found: Iterable[Token], given: Mapping[str, str]) -> dict[str, str]:
    asked = {token.value: None for token in found if token.kind is Kind.PARAMETER}
    for name in asked:
        if name not in given:
            raise InvalidInputError(f"the question names :{name}, which was not given: --param {name}=VALUE")
    for name in given:
        if name not in asked:
            raise InvalidInputError(f"a value was given for {name!a}, but the question does not name :{name}")
    return {name: given[name] for name in asked}


def _value(name: str, text: str, dialect: str) -> str:
    if "\x00" in text:
        raise InvalidInputError(f"the value of :{name} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"the value of :{name} is not valid text") from None
    match = _DATE.fullmatch(text)
    if match is None:
        return text
    at = _time(text)
    if match["zone"] is None and match["between"] != "T":
        return text
    in_utc = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    stored = in_utc.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return stored if dialect == "sqlite" else f"{stored}+00"


def _check_time(text: str, dialect: str) -> None:
    """SQLite compares times as text: what only looks like a time would be answered, and wrongly."""
    match = _DATE.fullmatch(text)
    if match is None:
        return
    _time(text)
    if dialect == "sqlite" and (match["zone"] is not None or match["between"] == "T"):
        raise InvalidInputError(f"write times in UTC as '2026-11-22 14:05:00', not {text!a}")


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInputError(f"{text!a} is no time: {error}") from None


def _text(sql: str, found: Sequence[Token]) -> str:
    """Comments become spaces."""
    pieces, place = [], 0
    for token in found:
        pieces += ["".join(it if it == "\n" else " " for it in sql[place : token.start]), sql[token.start : token.end]]
        place = token.end
    return "".join(pieces)
