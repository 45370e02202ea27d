"""SQL cut into its pieces, as far as it must be understood before a database sees it.

Used by `checking`. It is stricter than the databases: what they could read otherwise than this does (dollar quotes, escapes in
strings and names) is refused, so that nothing hides from the checks. Pure.
"""

from dataclasses import dataclass
from enum import Enum

from controlplane.errors import InvalidInputError


class Kind(Enum):
    WORD = "word"  # a name or keyword as it stands, in lower case
    QUOTED = "quoted name"
    STRING = "string"
    NUMBER = "number"
    PARAMETER = "parameter"
    SYMBOL = "symbol"


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    value: str  # without quotes
    start: int
    end: int


_QUOTES = {"'": Kind.STRING, '"': Kind.QUOTED}
_ESCAPING = {"e", "u&", "n"}  # before a quote these would change what is inside it


def tokens(sql: str, dialect: str) -> list[Token]:
    """All but spaces and comments. Raises InvalidInputError, with the place, for what is not ended or not understood."""
    found: list[Token] = []
    place = 0
    while place < len(sql):
        begin = sql[place]
        if begin in " \t\r\n\f\v":
            place += 1
        elif sql.startswith("--", place):
            place = _line_end(sql, place)
        elif sql.startswith("/*", place):
            place = _comment_end(sql, place)
        else:
            token = _token(sql, place, dialect)
            found.append(token)
            place = token.end
    return found


def where(sql: str, place: int) -> str:
    """For people: line and column."""
    before = sql[:place]
    return f"line {before.count(chr(10)) + 1}, column {place - (before.rfind(chr(10)) + 1) + 1}"


def _token(sql: str, place: int, dialect: str) -> Token:
    begin = sql[place]
    if begin in _QUOTES:
        return _quoted(sql, place, begin, _QUOTES[begin])
    if dialect == "sqlite" and begin == "`":
        return _quoted(sql, place, "`", Kind.QUOTED)
    if dialect == "sqlite" and begin == "[":
        end = sql.find("]", place)
        if end < 0:
            raise _refused(sql, place, "a name in [ is not ended")
        return Token(Kind.QUOTED, sql[place + 1 : end], place, end + 1)
    if _begins_name(begin):
        return _word(sql, place)
    if begin.isascii() and begin.isdigit():
        end = place
        while end < len(sql) and (sql[end] in "._" or _in_name(sql[end])):
            end += 1
        return Token(Kind.NUMBER, sql[place:end], place, end)
    if begin == ":" and place + 1 < len(sql) and _begins_name(sql[place + 1]) and sql[place - 1 : place] != ":":
        name = _word(sql, place + 1)
        return Token(Kind.PARAMETER, sql[place + 1 : name.end], place, name.end)
    if begin == "$" or (dialect == "sqlite" and begin in "?@#"):
        raise _refused(sql, place, f"{begin} is not understood here: strings stand in '', parameters are written :name")
    if begin < " ":
        raise _refused(sql, place, "a control character")
    return Token(Kind.SYMBOL, begin, place, place + 1)


def _word(sql: str, place: int) -> Token:
    end = place
    while end < len(sql) and _in_name(sql[end]):
        end += 1
    text = sql[place:end]
    before_quote = sql[end : end + 1] in ("'", '"') and text.lower() in _ESCAPING
    if before_quote or (text.lower() == "u" and sql[end : end + 2] in ("&'", '&"')):
        raise _refused(sql, place, f"strings with {text.upper()} before them are not answered: write them plainly")
    return Token(Kind.WORD, _folded(text), place, end)


def _quoted(sql: str, place: int, quote: str, kind: Kind) -> Token:
    end = place + 1
    while True:
        end = sql.find(quote, end)
        if end < 0:
            raise _refused(sql, place, f"a {kind.value} is not ended")
        if sql[end + 1 : end + 2] != quote:
            return Token(kind, sql[place + 1 : end].replace(quote * 2, quote), place, end + 1)
        end += 2


def _line_end(sql: str, place: int) -> int:
    ends = [end for end in (sql.find("\n", place), sql.find("\r", place)) if end >= 0]
    return min(ends, default=len(sql))


def _comment_end(sql: str, place: int) -> int:
    """PostgreSQL's comments lie in each other and SQLite's do not: what the two read differently is refused."""
    end = sql.find("*/", place + 2)
    if end < 0:
        raise _refused(sql, place, "a comment is not ended")
    if "/*" in sql[place + 2 : end]:
        raise _refused(sql, place, "a comment within a comment")
    return end + 2


def _begins_name(character: str) -> bool:
    return character == "_" or (character.isascii() and character.isalpha()) or ord(character) >= 128


def _in_name(character: str) -> bool:
    return _begins_name(character) or character == "$" or (character.isascii() and character.isdigit())


def _folded(text: str) -> str:
    """As databases do it: only ASCII letters."""
    return "".join(character.lower() if character.isascii() else character for character in text)


def _refused(sql: str, place: int, why: str) -> InvalidInputError:
    return InvalidInputError(f"{why} ({where(sql, place)})")
