"""SQL cut into pieces: nothing hides in strings, names and comments, and what the databases read differently is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import InvalidInputError
from controlplane.storage.asking.lexing import Kind, tokens, where


def _values(sql: str, dialect: str = "postgresql") -> list[tuple[Kind, str]]:
    return [(token.kind, token.value) for token in tokens(sql, dialect)]


def test_words_strings_names_numbers_and_parameters_are_told_apart() -> None:
    assert _values("SELECT \"A\"\"b\", 'it''s', 1.5e3 :p -- no\n/* no */ x::int") == [
        (Kind.WORD, "select"),
        (Kind.QUOTED, 'A"b'),
        (Kind.SYMBOL, ","),
        (Kind.STRING, "it's"),
        (Kind.SYMBOL, ","),
        (Kind.NUMBER, "1.5e3"),
        (Kind.PARAMETER, "p"),
        (Kind.WORD, "x"),
        (Kind.SYMBOL, ":"),
        (Kind.SYMBOL, ":"),
        (Kind.WORD, "int"),
    ]


def test_sqlites_other_quotes_are_names_there_only() -> None:
    assert _values("`a` [b c]", "sqlite") == [(Kind.QUOTED, "a"), (Kind.QUOTED, "b c")]
    assert (Kind.SYMBOL, "[") in _values("a[1]")


@pytest.mark.parametrize(
    "sql",
    ["'a", '"a', "/* a", "/* /* */ */", "$$a$$", "$x$a$x$", "E'a'", "e'a'", "U&'a'", 'u&"a"', "N'a'", "\x00", "\x1b"],
)
def test_what_could_be_read_in_two_ways_is_refused(sql: str) -> None:
    for dialect in ("sqlite", "postgresql"):
        with pytest.raises(InvalidInputError, match="line 1, column"):
            tokens(f"SELECT {sql}", dialect)


def test_only_ascii_is_folded() -> None:
    assert _values("ÄaZ") == [(Kind.WORD, "Äaz")]


def test_a_place_is_a_line_and_a_column() -> None:
    assert where("a\nbc", 3) == "line 2, column 2"


@given(st.text(alphabet="ab'\"-/*\n ();:$`[]é\\"))
def test_pieces_cover_the_text_in_order_and_lose_only_spaces_and_comments(sql: str) -> None:
    try:
        found = tokens(sql, "sqlite")
    except InvalidInputError:
        return
    place = 0
    for token in found:
        gap = sql[place : token.start]
        assert not gap.strip() or gap.strip().startswith(("--", "/*"))
        assert token.start < token.end
        place = token.end
