"""What is asked and what is answered. Used by `services.run_sql` and the modules beside it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from controlplane.clock import SystemClock
from controlplane.errors import ConflictError

Value = str | int | float | bool | datetime | None

ANSWER_BYTES_MAX = 8 * 1024 * 1024  # well below what one message may hold

_monotonic = SystemClock().monotonic


@dataclass(frozen=True, slots=True)
class Question:
    """One SELECT, with its parameters as people type them."""

    sql: str
    parameters: Mapping[str, str]
    rows_max: int
    seconds_max: float


@dataclass(frozen=True, slots=True)
class Answer:
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    truncated: bool  # there are more rows than were asked for, or than fit into an answer
    seconds: float  # that the database took
    dialect: str


class Running:
    """A question under way: how long it may still take, and whether somebody still waits. Asked on its thread."""

    def __init__(self, seconds_max: float) -> None:
        self._seconds_max = seconds_max
        self._began = _monotonic()
        self._abandoned = threading.Event()
        self._end: Callable[[], None] | None = None
        self.problem = ""  # why it was ended, when it was neither for the time nor because nobody waits

    @property
    def seconds(self) -> float:
        return _monotonic() - self._began

    @property
    def seconds_left(self) -> float:
        return self._seconds_max - self.seconds

    @property
    def over(self) -> bool:
        return self._abandoned.is_set() or self.seconds_left <= 0

    def on_abandon(self, end: Callable[[], None]) -> None:
        """What ends it from another thread, for a database that does not ask `over` by itself."""
        self._end = end

    def abandon(self) -> Callable[[], None] | None:
        """Nobody waits any more. Returns what is to be called, elsewhere than on the event loop."""
        self._abandoned.set()
        return self._end

    def ended(self) -> ConflictError:
        """The error of a question that was ended before its answer."""
        if self.problem:
            return ConflictError(self.problem)
        if self._abandoned.is_set():
            return ConflictError("the question was given up: nobody waits for its answer")
        return ConflictError(
            f"ended after {self._seconds_max:g} s without an answer: ask for a shorter time, for one engine, or of the "
            "hours instead of the minutes; or allow more time"
        )


class Rows:
    """The rows of an answer as they come, until there are enough."""

    def __init__(self, rows_max: int, bytes_max: int = ANSWER_BYTES_MAX) -> None:
        self._rows_max = rows_max
        self._bytes_left = bytes_max
        self.rows: list[tuple[Value, ...]] = []
        self.truncated = False

    def add(self, row: tuple[Value, ...]) -> bool:
        """False: it is one too many, and no more are wanted."""
        self._bytes_left -= sum(_size(value) for value in row)
        if len(self.rows) >= self._rows_max or self._bytes_left < 0:
            self.truncated = True
            return False
        self.rows.append(row)
        return True


def _size(value: Value) -> int:
    """At least what it takes on the wire."""
    return 16 if not isinstance(value, str) else 8 + len(value) * (1 if value.isascii() else 4)
