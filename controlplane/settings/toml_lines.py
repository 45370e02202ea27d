"""Which line of a TOML document says what.

`tomllib` tells values but not where they stand; this tells where. Called by `settings.sources` with text that tomllib
has already accepted, so that the line of a value that is wrong can be named. Pure. Never judges a document.
"""

import re
import tomllib

KeyPath = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}\r\n#]*")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"""(?:""?(?!"))?', re.DOTALL),
    re.compile(r"'''.*?'''(?:''?(?!'))?", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of every table, key and array item. Items of arrays have their index in the path."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text.removeprefix("\ufeff")
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._last_index: dict[KeyPath, int] = {}  # of each array of tables

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK_LINES)
        while self._at < len(self._text):
            if self._ahead("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK_LINES)
        return self._lines

    def _header(self) -> KeyPath:
        is_array = self._ahead("[[")
        self._at += 2 if is_array else 1
        line = self._line()
        parts = self._key()
        self._at += 2 if is_array else 1
        path: KeyPath = ()
        for position, part in enumerate(parts):
            path += (part,)
            self._lines.setdefault(path, line)
            if is_array and position == len(parts) - 1:
                self._last_index[path] = self._last_index.get(path, -1) + 1
            if path in self._last_index:
                path += (self._last_index[path],)
                self._lines.setdefault(path, line)
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for part in self._key():
            path += (part,)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_BLANK)
            parts.append(self._key_part())
            self._skip(_BLANK)
            if not self._ahead("."):
                return parts
            self._at += 1

    def _key_part(self) -> str:
        if self._text[self._at] in "\"'":
            quoted = self._string()
            return str(tomllib.loads(f"key = {quoted}")["key"])
        return self._skip(_BARE_KEY)

    def _value(self, path: KeyPath) -> None:
        if self._ahead("["):
            self._array(path)
        elif self._ahead("{"):
            self._inline_table(path)
        elif self._text[self._at] in "\"'":
            self._string()
        else:
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip(_BLANK_LINES)
            if self._ahead("]"):
                break
            item = (*path, index)
            self._lines[item] = self._line()
            self._value(item)
            index += 1
            self._skip(_BLANK_LINES)
            if self._ahead(","):
                self._at += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while True:
            self._skip(_BLANK_LINES)  # TOML 1.0 allows no line break here; later versions do
            if self._ahead("}"):
                break
            self._pair(path)
            self._skip(_BLANK_LINES)
            if self._ahead(","):
                self._at += 1
        self._at += 1

    def _string(self) -> str:
        for pattern in _STRINGS:
            found = pattern.match(self._text, self._at)
            if found is not None:
                self._at = found.end()
                return found.group()
        raise ValueError(f"no string at line {self._line()}")  # tomllib would not have accepted it

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise ValueError(f"no key at line {self._line()}")
        self._at = found.end()
        return found.group()

    def _ahead(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1
