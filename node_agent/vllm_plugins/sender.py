"""Brings what the plug-in knows to the agent: one thread, one Unix socket, JSON lines. Made by `plugin`.

Records are kept until the agent says that they are safe, and sent again to the next agent; beyond a limit the oldest are
dropped and counted. Notes and step totals are only worth something while they are new. Those who submit never wait.

It sends a few times a second, all that came up meanwhile in one piece: every time it wakes up it takes the interpreter from
the engine's own work, and wakes the agent.
"""

import atexit
import contextlib
import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from . import wire

RECORDS_MAX = 20_000
NOTES_MAX = 512
_TICK_SECONDS = 0.25
_STEPS_SECONDS = 1.0
_SEND_SECONDS_MAX = 5.0
_REFUSED_SECONDS = 30.0
_LAST_SECONDS_MAX = 1.0
_RECEIVED_MAX = 65_536
_SENT_AT_ONCE = 65_536

Make = Callable[[], Mapping[str, Any] | None]


class Sender:
    def __init__(
        self,
        path: str,
        hello: Callable[[], Mapping[str, Any]],
        steps: Callable[[], Mapping[str, Any]],
        problem: Callable[[str], None],
        *,
        records_max: int = RECORDS_MAX,
        tick_seconds: float = _TICK_SECONDS,
    ) -> None:
        self._path = path
        self._hello = hello
        self._steps = steps
        self._problem = problem
        self._records_max = records_max
        self._tick_seconds = tick_seconds
        self._new_records: deque[Make] = deque()
        self._new_notes: deque[Make] = deque()
        # Written by those who submit (dropped_early, dropped_notes) or by the thread (the others), never by both.
        self._dropped_early = self._dropped_late = self._dropped_notes = 0
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._sequence = 0
        self._sent = 0
        self._socket: socket.socket | None = None
        self._welcomed = False
        self._greet = False
        self._received = b""
        self._next_steps_at = self._next_dial_at = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stoker-sender", daemon=True)

    def start(self) -> None:
        if self._path:
            with contextlib.suppress(RuntimeError):  # no more threads: nothing is told, and the agent says so
                self._thread.start()
            atexit.register(self.close)

    def close(self) -> None:
        """Sends what it still can, for a moment."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_SECONDS_MAX)

    def submit_record(self, make: Make) -> None:
        """`make` runs later, in the sender's thread."""
        if len(self._new_records) >= self._records_max:
            self._dropped_early += 1
        else:
            self._new_records.append(make)

    def submit_note(self, make: Make) -> None:
        if len(self._new_notes) >= NOTES_MAX:
            self._dropped_notes += 1
        else:
            self._new_notes.append(make)

    def greet_again(self) -> None:
        """What the greeting tells has changed."""
        self._greet = True

    def _run(self) -> None:
        while True:
            last = self._closing.is_set()
            try:
                self._turn(time.monotonic())
            except (OSError, ValueError):
                self._hang_up()
            except Exception as error:  # noqa: BLE001 - a thread that ends tells nobody anything
                self._hang_up()
                self._problem(f"the plug-in's sender stumbled: {error!r}")
            if last:
                self._hang_up()
                return

    def _turn(self, now: float) -> None:
        self._make_records()
        if self._socket is None and now >= self._next_dial_at:
            self._next_dial_at = now + _STEPS_SECONDS
            self._dial()
        if self._socket is None:
            self._closing.wait(self._tick_seconds)
            return
        if self._welcomed:
            self._send_all(now)
        self._listen(self._socket, 0.0 if self._closing.is_set() else now + self._tick_seconds)

    def _listen(self, connected: socket.socket, until: float) -> None:
        """Hears what the agent says until the next turn is due; it is due at once when the agent bids welcome."""
        welcomed = self._welcomed
        while True:
            left_seconds = max(0.0, until - time.monotonic())
            readable, _, _ = select.select([connected], [], [], left_seconds)
            if not readable:
                return
            self._receive(connected)
            if self._welcomed is not welcomed or not left_seconds:
                return

    def _make_records(self) -> None:
        while self._new_records:
            make = self._new_records.popleft()
            try:
                record = make()
            except Exception as error:  # noqa: BLE001 - this one is lost, and counted
                self._dropped_late += 1
                self._problem(f"a request's record cannot be made: {error!r}")
                continue
            self._sequence += 1
            self._waiting.append((self._sequence, _line(wire.RECORD, {**(record or {}), "n": self._sequence})))
        while len(self._waiting) > self._records_max:
            self._waiting.popleft()
            self._dropped_late += 1

    def _dial(self) -> None:
        dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            dialled.settimeout(_SEND_SECONDS_MAX)
            dialled.connect(self._path)
            # Before it is put together: what changes from now on is greeted with again.
            self._greet = False
            dialled.sendall(_line(wire.HELLO, self._hello()))
        except OSError:
            dialled.close()
            return
        self._socket, self._welcomed, self._received = dialled, False, b""

    def _send_all(self, now: float) -> None:
        piece = bytearray()
        for line in self._new_lines(now):
            piece += line
            if len(piece) >= _SENT_AT_ONCE:
                self._send(piece)
                piece = bytearray()
        if piece:
            self._send(piece)

    def _new_lines(self, now: float) -> Iterator[bytes]:
        if self._greet:
            self._greet = False
            yield _line(wire.HELLO, self._hello())
        if self._waiting:
            # Sequences have no gaps here: what is dropped goes from the old end.
            first_unsent = max(0, self._sent + 1 - self._waiting[0][0])
            for sequence, line in islice(self._waiting, first_unsent, None):
                self._sent = sequence
                yield line
        for _ in range(len(self._new_notes)):
            yield self._note_line(self._new_notes.popleft())
        if now >= self._next_steps_at or self._closing.is_set():
            self._next_steps_at = now + _STEPS_SECONDS
            dropped = self._dropped_early + self._dropped_late
            yield _line(wire.STEPS, {**self._steps(), "dropped": dropped, "dropped_notes": self._dropped_notes})

    def _note_line(self, make: Make) -> bytes:
        """Empty when there is nothing to be noted."""
        try:
            note = make()
        except Exception as error:  # noqa: BLE001 - the prefix stays unknown
            self._problem(f"a prompt's prefix cannot be noted: {error!r}")
            return b""
        return b"" if note is None else _line(wire.NOTE, note)

    def _send(self, lines: bytes | bytearray) -> None:
        if self._socket is not None:
            self._socket.sendall(lines)

    def _receive(self, connected: socket.socket) -> None:
        received = connected.recv(_RECEIVED_MAX)
        if not received:
            raise ConnectionError("the agent hung up")
        *lines, self._received = (self._received + received).split(b"\n")
        if len(self._received) > _RECEIVED_MAX:
            raise ValueError("a line from the agent has no end")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, message: Any) -> None:
        kind = message.get(wire.KIND) if isinstance(message, dict) else None
        if kind == wire.REFUSED:
            self._next_dial_at = time.monotonic() + _REFUSED_SECONDS
            raise ConnectionError("the agent does not understand this plug-in")
        kept = message.get("n") if kind in (wire.WELCOME, wire.KEPT) else None
        if isinstance(kept, int):
            while self._waiting and self._waiting[0][0] <= kept:
                self._waiting.popleft()
        if kind == wire.WELCOME:
            # What an earlier agent got and did not keep is sent again.
            self._welcomed, self._sent, self._next_steps_at = True, 0, 0.0

    def _hang_up(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None
        self._closing.wait(self._tick_seconds)


def _line(kind: str, fields: Mapping[str, Any]) -> bytes:
    return json.dumps({wire.KIND: kind, **fields}, separators=(",", ":"), allow_nan=False).encode() + b"\n"
