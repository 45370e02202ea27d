"""Asks the database in a person's words, away from the event loop and from the daemon's own connections.

Used by `services.run_sql`. At most two questions are under way at once, whoever asks; one more is refused at once, because a
queue of slow questions helps nobody.
"""

import asyncio
from functools import partial
from threading import BoundedSemaphore

from controlplane.errors import ConflictError, UnavailableError
from controlplane.storage.asking.postgresql_asker import ask_postgresql
from controlplane.storage.asking.question import Answer, Question, Running
from controlplane.storage.asking.sqlite_asker import ask_sqlite
from controlplane.storage.database_url import parse_url, sqlite_file
from controlplane.storage.work_queue import WorkQueue

QUESTIONS_AT_ONCE_MAX = 2
_WAITING_MAX = 8  # never reached: the semaphore lets fewer in
_GRACE_SECONDS = 10.0  # to connect, and to be told the end


class SqlAsker:
    """Opens a connection for each question, and closes it."""

    def __init__(self, url: str) -> None:
        """Does not connect. Raises ConfigurationError for a bad URL."""
        self._url = parse_url(url)
        self._free = BoundedSemaphore(QUESTIONS_AT_ONCE_MAX)
        self._asking = WorkQueue("stoker-sql", QUESTIONS_AT_ONCE_MAX, _WAITING_MAX)
        self._ending = WorkQueue("stoker-sql-end", 1, _WAITING_MAX)

    async def ask(self, question: Question) -> Answer:
        """Raises InvalidInputError for what is not answered, ConflictError when it is ended or too many are under way,
        ConfigurationError when PostgreSQL lacks the role, UnavailableError. When the caller is cancelled, it is ended."""
        if not self._free.acquire(blocking=False):
            raise ConflictError(f"{QUESTIONS_AT_ONCE_MAX} questions are being answered already: try again in a moment")
        running = Running(question.seconds_max)
        file = sqlite_file(self._url)
        ask = partial(ask_sqlite, file) if file is not None else partial(ask_postgresql, self._url)
        future = self._asking.submit(partial(ask, question, running))
        future.add_done_callback(lambda _: self._free.release())  # when it has really ended, not when nobody waits
        try:
            async with asyncio.timeout(question.seconds_max + _GRACE_SECONDS):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            self._abandon(running)
            raise UnavailableError("the database does not answer") from error
        except asyncio.CancelledError:
            self._abandon(running)
            raise

    def _abandon(self, running: Running) -> None:
        end = running.abandon()
        if end is not None:
            self._ending.submit(end)
