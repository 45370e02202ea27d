"""Tasks end together, and none crashes in silence."""

import asyncio

import pytest

from node_agent.tasks import TaskScope


async def test_a_crash_is_told_and_the_others_go_on() -> None:
    crashes: list[tuple[str, str]] = []
    done = asyncio.Event()

    async def crash() -> None:
        raise ValueError("boom")

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    async with TaskScope("test", on_crash=lambda name, error: crashes.append((name, str(error)))) as scope:
        scope.spawn(crash(), name="one")
        scope.spawn(work(), name="two")
        await done.wait()
    assert crashes == [("test: one", "boom")]


async def test_closing_cancels_and_waits_and_nothing_starts_after() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("forever")

    scope = TaskScope("test")
    scope.spawn(forever(), name="forever")
    await asyncio.sleep(0)
    assert len(scope) == 1
    await scope.close()
    await scope.close()
    assert ended == ["forever"]
    with pytest.raises(RuntimeError, match="is closed"):
        scope.spawn(forever(), name="late")
