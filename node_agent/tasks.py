"""The only place in the agent that spawns asyncio tasks, so that none is lost and no crash is silent.

A part of the agent that works in the background owns one `TaskScope`, spawns into it, and closes it at the end. Never
used by pure modules.
"""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import structlog

_log = structlog.get_logger(__name__)


class TaskScope:
    """Tasks that live and end together. A crash is logged and told to `on_crash`; the other tasks go on."""

    def __init__(self, name: str, *, on_crash: Callable[[str, BaseException], None] | None = None) -> None:
        self._name = name
        self._on_crash = on_crash
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"the task scope {self._name} is closed; {name} cannot start")
        task = asyncio.create_task(coroutine, name=f"{self._name}: {name}")  # noqa: TID251 - this is the place
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    async def close(self) -> None:
        """Cancels what still runs and waits until all of it has ended. Safe to call twice."""
        self._closed = True
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        _log.error("task_crashed", task=task.get_name(), exc_info=error)
        if self._on_crash is not None:
            self._on_crash(task.get_name(), error)
