"""An engine's log on disk: followed while it starts, bounded while it runs, quoted when it dies.

Called by `EngineRunner`. The engine appends to the file by itself; the agent only reads and cuts it. Bounding copies
the end away and truncates: the little that is written in between is lost, which is the price of an engine that never
depends on the agent. Lines are untrusted: control characters never leave this module.
"""

import contextlib
import os
import re
from pathlib import Path

_READ_BYTES_MAX = 256 * 1024
_LINE_CHARACTERS_MAX = 400
_ANSI = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")
_BREAK = re.compile(rb"[\r\n]+")


class LogFile:
    def __init__(self, path: Path, *, bytes_max: int) -> None:
        self.path = path
        self._bytes_max = bytes_max
        self._offset = 0

    @property
    def _previous(self) -> Path:
        return self.path.with_name(self.path.name + ".1")

    def begin(self) -> None:
        """A new process begins: what the last one wrote is kept aside. Raises OSError."""
        if self.path.exists():
            self.path.replace(self._previous)
        self._offset = 0

    def new_lines(self) -> list[str]:
        """Whole lines since the last call. Of a flood only the end is read."""
        try:
            size = self.path.stat().st_size
            if size < self._offset:
                self._offset = 0
            start = max(self._offset, size - _READ_BYTES_MAX)
            data = self._read(start, size)
        except OSError:
            return []
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end == 0 and len(data) < _READ_BYTES_MAX:
            return []
        self._offset = start + (end or len(data))
        return _lines(data[:end])

    def tail(self, count: int) -> tuple[str, ...]:
        try:
            size = self.path.stat().st_size
            return tuple(_lines(self._read(max(0, size - _READ_BYTES_MAX), size))[-count:])
        except OSError:
            return ()

    def history(self, count: int) -> tuple[str, ...]:
        """The last lines, also of the process before this one and of what was cut away. Raises OSError."""
        texts: list[bytes] = []
        room = _READ_BYTES_MAX
        for path in (self.path, self._previous):
            with contextlib.suppress(FileNotFoundError):
                size = path.stat().st_size
                texts.append(_read(path, max(0, size - room), size))
                room -= len(texts[-1])
        if not texts:
            raise FileNotFoundError(self.path)
        return tuple(_lines(b"\n".join(reversed(texts)))[-count:])

    def bound(self) -> None:
        """Cuts the file once it is too large; half of the limit is kept. Raises OSError."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return
        if size <= self._bytes_max:
            return
        self._previous.write_bytes(self._read(max(0, size - self._bytes_max // 2), size))
        os.truncate(self.path, 0)
        self._offset = 0

    def _read(self, start: int, end: int) -> bytes:
        return _read(self.path, start, end)


def _read(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


def clean_line(text: str) -> str:
    """One line that is safe to show anywhere."""
    plain = _ANSI.sub("", text).replace("\t", " ")
    printable = "".join(character for character in plain if character.isprintable())
    return printable[:_LINE_CHARACTERS_MAX].rstrip()


def _lines(data: bytes) -> list[str]:
    return [line for line in (clean_line(raw.decode("utf-8", "replace")) for raw in _BREAK.split(data)) if line]
