"""Tasks that live and die together, none of them silently."""

import asyncio

import pytest
from structlog.testing import capture_logs

from controlplane.runtime.tasks import TaskScope


async def forever() -> None:
    await asyncio.Event().wait()


async def broken() -> None:
    raise ValueError("no")


async def nothing() -> None:
    return


async def test_a_failure_is_logged_and_takes_nothing_else_down() -> None:
    scope = TaskScope()
    other = scope.spawn("other", forever())
    with capture_logs() as logs:
        task = scope.spawn("broken", broken())
        await asyncio.wait({task})
        await asyncio.sleep(0)
    [line] = [line for line in logs if line["event"] == "task_failed"]
    assert line["task"] == "broken"
    assert isinstance(line["exc_info"], ValueError)
    assert not scope.failed.is_set()
    assert not other.done()
    await scope.close()


async def test_the_end_of_an_essential_task_is_the_end_of_the_scope() -> None:
    scope = TaskScope()
    scope.spawn("essential", broken(), essential=True)
    async with asyncio.timeout(5):
        await scope.failed.wait()
    assert isinstance(scope.failure, ValueError)
    await scope.close()


async def test_an_essential_task_that_just_returns_has_failed_too() -> None:
    scope = TaskScope()
    scope.spawn("essential", nothing(), essential=True)
    async with asyncio.timeout(5):
        await scope.failed.wait()
    assert "essential" in str(scope.failure)
    await scope.close()


async def test_closing_cancels_all_and_waits_for_them() -> None:
    scope, cleaned = TaskScope(), []

    async def careful() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    task = scope.spawn("careful", careful(), essential=True)
    await asyncio.sleep(0)
    await scope.close()
    assert task.cancelled()
    assert cleaned == [True]
    assert not scope.failed.is_set()
    await scope.close()


async def test_cancelling_one_is_no_failure() -> None:
    scope = TaskScope()
    task = scope.spawn("essential", forever(), essential=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not scope.failed.is_set()
    await scope.close()
