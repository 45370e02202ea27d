"""Blocking calls in a thread that nobody waits for when the program ends. Used by `monitor` only.

asyncio's own threads are joined at exit; a driver that never answers would then keep the agent from ending.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def in_background(work: Callable[[], _T], *, name: str) -> "asyncio.Future[_T]":
    """A future in the running loop. To give up on it stops nothing: the thread goes on until the call returns."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def finish(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            result, failure = work(), None
        except BaseException as error:  # noqa: BLE001 - whoever awaits the future gets it
            result, failure = None, error
        try:
            loop.call_soon_threadsafe(finish, result, failure)
        except RuntimeError:
            return  # the loop has ended meanwhile

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
