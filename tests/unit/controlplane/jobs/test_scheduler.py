"""Jobs are woken again and again, one run at a time, and one that fails takes nothing down."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
from structlog.testing import capture_logs

from controlplane.errors import UnavailableError
from controlplane.jobs.scheduler import Jobs
from tests.support.clock import START, SettableClock


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    made = Jobs(SettableClock())
    yield made
    made.stop()


class Runs:
    """Counts the runs of a job."""

    def __init__(self) -> None:
        self.at: list[datetime] = []
        self._happened = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, now: datetime) -> None:
        self.at.append(now)
        self._happened.set()
        if self.error is not None:
            raise self.error

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.at) < count:
                self._happened.clear()
                await self._happened.wait()


async def test_a_job_runs_with_the_clocks_time(jobs: Jobs) -> None:
    runs = Runs()
    jobs.every(0.02, "a job", runs)
    jobs.start()
    await runs.until(3)
    assert runs.at == [START] * len(runs.at)


@pytest.mark.parametrize(
    ("error", "event"), [(UnavailableError("the database is away"), "job_failed"), (ValueError("a bug"), "job_crashed")]
)
async def test_a_job_that_fails_is_logged_and_woken_again(jobs: Jobs, error: Exception, event: str) -> None:
    runs, others = Runs(), Runs()
    runs.error = error
    with capture_logs() as logs:
        jobs.every(0.02, "a job", runs)
        jobs.every(0.02, "another", others)
        jobs.start()
        await runs.until(3)
        await others.until(3)
    lines = [line for line in logs if line["event"] == event]
    assert len(lines) >= 2
    assert lines[0]["job"] == "a job"


async def test_the_same_name_again_changes_the_interval(jobs: Jobs) -> None:
    slow, fast = Runs(), Runs()
    jobs.every(3600.0, "a job", slow)
    jobs.start()
    jobs.every(0.02, "a job", fast)
    await fast.until(2)
    assert slow.at == []


async def test_a_run_that_takes_longer_than_the_interval_is_not_doubled(jobs: Jobs) -> None:
    running, most, release, ticks = 0, 0, asyncio.Event(), Runs()

    async def slow(_: datetime) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    jobs.every(0.02, "slow", slow)
    jobs.every(0.02, "ticks", ticks)
    jobs.start()
    await ticks.until(5)
    release.set()
    assert most == 1


async def test_stopping_what_never_started() -> None:
    Jobs(SettableClock()).stop()
