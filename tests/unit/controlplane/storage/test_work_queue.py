"""Work on other threads: what is urgent first, what was given up never."""

import threading

import pytest

from controlplane.storage.work_queue import QueueClosedError, QueueFullError, WorkQueue

SECONDS_MAX = 30.0


class Held:
    """Keeps the queue's one thread busy until it is let go."""

    def __init__(self, queue: WorkQueue) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.future = queue.submit(self._wait)
        assert self.begun.wait(SECONDS_MAX)

    def _wait(self) -> bool:
        self.begun.set()
        return self.go.wait(SECONDS_MAX)


def test_what_is_urgent_goes_first_and_each_in_its_order() -> None:
    queue, done = WorkQueue("q", 1, 10), list[str]()
    held = Held(queue)
    futures = [queue.submit(lambda n=n: done.append(f"later {n}"), background=True) for n in (1, 2)]  # type: ignore[misc]
    futures += [queue.submit(lambda n=n: done.append(f"now {n}")) for n in (1, 2)]  # type: ignore[misc]
    held.go.set()
    for future in futures:
        future.result(SECONDS_MAX)
    assert done == ["now 1", "now 2", "later 1", "later 2"]


def test_what_was_given_up_before_its_turn_is_never_begun() -> None:
    queue, done = WorkQueue("q", 1, 10), list[str]()
    held = Held(queue)
    given_up, kept = queue.submit(lambda: done.append("a")), queue.submit(lambda: done.append("b"))
    assert given_up.cancel()
    held.go.set()
    kept.result(SECONDS_MAX)
    assert done == ["b"]
    assert not held.future.cancel(), "what is being done cannot be given up"


def test_a_full_queue_refuses_but_not_for_what_was_given_up() -> None:
    queue = WorkQueue("q", 1, 3)
    held = Held(queue)
    waiting = [queue.submit(int) for _ in range(2)]
    with pytest.raises(QueueFullError):
        queue.submit(int)
    background = queue.submit(int, background=True)
    waiting[0].cancel()
    more = queue.submit(int)
    held.go.set()
    assert [each.result(SECONDS_MAX) for each in (waiting[1], more, background)] == [0, 0, 0]


def test_errors_are_the_callers_and_the_thread_goes_on() -> None:
    queue = WorkQueue("q", 1, 10)
    with pytest.raises(ZeroDivisionError):
        queue.submit(lambda: 1 // 0).result(SECONDS_MAX)
    assert queue.submit(lambda: 7).result(SECONDS_MAX) == 7


def test_progress_tells_one_piece_of_work_from_the_next() -> None:
    queue = WorkQueue("q", 1, 10)
    assert WorkQueue("idle", 1, 10).progress is None
    first = Held(queue)
    seen = queue.progress
    assert seen is not None
    assert queue.progress == seen
    first.go.set()
    first.future.result(SECONDS_MAX)
    second = Held(queue)
    assert queue.progress not in (None, seen)
    second.go.set()


def test_closing_finishes_what_waits_and_takes_no_more() -> None:
    queue = WorkQueue("q", 1, 10)
    held = Held(queue)
    last = queue.submit(lambda: 1, background=True)
    queue.close()
    with pytest.raises(QueueClosedError):
        queue.submit(int)
    held.go.set()
    assert last.result(SECONDS_MAX) == 1
