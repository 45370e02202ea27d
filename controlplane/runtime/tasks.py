"""The only place that spawns asyncio tasks, so that none is lost and no failure is silent.

Owned by `bootstrap` (one scope for the daemon) and by servers that handle many connections. Never swallows an error: a task
that ends in one is logged, and an essential task's end brings the scope down.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class TaskScope:
    """Tasks that live and die together.

    `failed` is set when an essential task ends by itself; whoever owns the scope waits for it beside the signals.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None

    def spawn(self, name: str, coro: Coroutine[Any, Any, Any], *, essential: bool = False) -> asyncio.Task[Any]:
        """Run `coro` until it ends or the scope closes. Essential: its end is the end of the scope."""
        task = asyncio.create_task(coro, name=name)  # noqa: TID251 - this is the one place
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, essential=essential))
        return task

    def _ended(self, task: asyncio.Task[Any], *, essential: bool) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._closing:
            return
        error = task.exception()
        if error is not None:
            log.error("task_failed", task=task.get_name(), exc_info=error)
        if essential:
            self.failure = error or RuntimeError(f"{task.get_name()} ended though it should run for ever")
            self.failed.set()

    async def close(self) -> None:
        """Cancel what still runs and wait for it to end."""
        self._closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
