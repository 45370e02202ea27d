"""The one place in the console that spawns asyncio tasks, so that none is lost and each is ended by who began it.

Called by `console.link`. The console's screens use Textual's workers instead.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Runs all until the first ends, then ends the others, awaited. The first's failure is raised as it is."""
    tasks = [asyncio.create_task(work) for work in works]  # noqa: TID251 - this is the one place
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
