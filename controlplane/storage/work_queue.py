"""Threads that do a database's work in the order in which it came; what is urgent goes before what is not.

Used by `database` only. Never waits on the caller's thread: work beyond `waiting_max` is refused at once. The threads are
daemons, so that a database that hangs cannot keep the process from ending.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any, TypeVar

T = TypeVar("T")

_Item = tuple["Future[Any]", Callable[[], Any]]


class QueueFullError(Exception):
    """Too much waits already."""


class QueueClosedError(Exception):
    """No more work is taken."""


class WorkQueue:
    def __init__(self, name: str, threads_count: int, waiting_max: int) -> None:
        """`waiting_max`, with what is being done, holds for what is urgent and for what is not, each."""
        self._name = name
        self._threads_max = threads_count
        self._waiting_max = waiting_max
        self._urgent: deque[_Item] = deque()
        self._background: deque[_Item] = deque()
        self._changed = Condition()
        self._threads: list[Thread] = []
        self._closed = False
        self._busy_count = 0
        self._begun_count = 0

    @property
    def progress(self) -> int | None:
        """A number that stays the same for as long as the same work is being done; None: nothing is being done."""
        with self._changed:
            return self._begun_count if self._busy_count else None

    def submit(self, work: Callable[[], T], *, background: bool = False) -> "Future[T]":
        """Have it done. A future that is cancelled before its turn is never begun."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise QueueClosedError
            queue = self._background if background else self._urgent
            if len(queue) + self._busy_count >= self._waiting_max:
                self._forget_cancelled()
            if len(queue) + self._busy_count >= self._waiting_max:
                raise QueueFullError
            queue.append((future, work))
            if len(self._threads) < self._threads_max:
                thread = Thread(target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()
        return future

    def close(self) -> None:
        """Take no more; what waits is still done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _forget_cancelled(self) -> None:
        for queue in (self._urgent, self._background):
            kept = [item for item in queue if not item[0].cancelled()]
            queue.clear()
            queue.extend(kept)

    def _run(self) -> None:
        while (item := self._next()) is not None:
            future, work = item
            try:
                if future.set_running_or_notify_cancel():
                    _do(future, work)
            finally:
                with self._changed:
                    self._busy_count -= 1

    def _next(self) -> _Item | None:
        """Waits for work; None: closed, and all is done."""
        with self._changed:
            while not self._urgent and not self._background:
                if self._closed:
                    return None
                self._changed.wait()
            self._busy_count += 1
            self._begun_count += 1
            return (self._urgent or self._background).popleft()


def _do(future: "Future[T]", work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's to see
        future.set_exception(error)
    else:
        future.set_result(result)
