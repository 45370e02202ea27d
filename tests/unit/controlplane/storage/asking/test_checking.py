"""What is refused before a database sees it; places stay those of what was asked."""

import pytest

from controlplane.errors import InvalidInputError
from controlplane.storage.asking.checking import SQL_LENGTH_MAX, called, checked, defined
from controlplane.storage.asking.lexing import tokens


def test_comments_become_spaces_and_nothing_moves() -> None:
    sql = "SELECT /* ; DROP */ 1 -- ;\n, 2;;"
    text = checked(sql, {}, "postgresql").text
    assert text == "SELECT              1     \n, 2"
    assert sql.index("2") == text.index("2")


def test_definitions_are_found_however_they_are_written() -> None:
    found = tokens('WITH a AS (SELECT 1), "B"(x, y) AS NOT MATERIALIZED (SELECT (1), 2), \'c\' AS MATERIALIZED (SELECT 1) '
                   "SELECT z AS q, (SELECT 1) FROM a AS d, (SELECT 2) AS e", "sqlite")  # fmt: skip
    assert set(defined(found)) == {"a", "b", "c"}


def test_calls_are_found_however_they_are_written() -> None:
    found = tokens('SELECT f(1), "G" (2), h/**/(3), s.i(4), j FROM (SELECT 1)', "postgresql")
    assert set(called(found)) == {"f", "G", "h", "i", "from"}


def test_times_are_sent_as_they_are_stored() -> None:
    given = {"a": "2026-11-22T15:00:00+01:00", "b": "2026-11-22T14:00Z", "c": "2026-11-22", "d": "llama"}
    asked = "SELECT :a, :b, :c, :d"
    assert list(checked(asked, given, "sqlite").parameters.values()) == [
        "2026-11-22 14:00:00.000000",
        "2026-11-22 14:00:00.000000",
        "2026-11-22",
        "llama",
    ]
    assert checked(asked, given, "postgresql").parameters["a"] == "2026-11-22 14:00:00.000000+00"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("", "no question"),
        (" ; ", "no question"),
        ("x" * (SQL_LENGTH_MAX + 1), "longer than"),
        ("DELETE FROM x", "only questions"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT '2026-02-30'", "no time"),
        ("SELECT '2026-11-22T14:00:00Z'", "write times in UTC"),
        ("SELECT :x", "--param x=VALUE"),
    ],
)
def test_refusals_say_what_is_wrong(sql: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        checked(sql, {}, "sqlite")


def test_postgresqls_own_names_are_closed() -> None:
    for sql in (
        "SELECT * FROM pg_class",
        'SELECT * FROM "pg_class"',
        "SELECT pg_sleep(1)",
        "SELECT 1 FOR NO KEY UPDATE",
    ):
        with pytest.raises(InvalidInputError):
            checked(sql, {}, "postgresql")
