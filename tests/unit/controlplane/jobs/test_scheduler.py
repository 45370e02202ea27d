"""Jobs are woken again and again, one run at a time; each run is remembered, and one that fails takes nothing down."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from controlplane.errors import UnavailableError
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.jobs import JobOutcome, JobRun, JobState
from controlplane.jobs.scheduler import CATCH_UP_SECONDS, Jobs
from tests.support.clock import START, SettableClock

HOUR = 3600.0


class Heard:
    """What was told and kept."""

    def __init__(self) -> None:
        self.events: list[FleetEvent] = []
        self.kept: list[JobRun] = []


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def jobs(clock: SettableClock, heard: Heard) -> AsyncIterator[Jobs]:
    made = Jobs(clock, heard.events.extend, heard.kept.extend)
    yield made
    made.stop()


class Runs:
    """Counts the runs of a job."""

    def __init__(self) -> None:
        self.at: list[datetime] = []
        self._happened = asyncio.Event()
        self.error: Exception | None = None
        self.detail: str | None = None
        self.during: Callable[[], None] = lambda: None

    async def __call__(self, now: datetime) -> str | None:
        self.at.append(now)
        self._happened.set()
        self.during()
        if self.error is not None:
            raise self.error
        return self.detail

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.at) < count:
                self._happened.clear()
                await self._happened.wait()


def state(jobs: Jobs, name: str = "a job") -> JobState:
    return next(each for each in jobs.states() if each.run.name == name)


async def test_a_job_runs_with_the_clocks_time(jobs: Jobs) -> None:
    runs = Runs()
    jobs.every(0.02, "a job", "", runs)
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
        jobs.every(0.02, "a job", "", runs)
        jobs.every(0.02, "another", "", others)
        jobs.start()
        await runs.until(3)
        await others.until(3)
    lines = [line for line in logs if line["event"] == event]
    assert len(lines) >= 2
    assert lines[0]["job"] == "a job"


async def test_the_same_name_again_changes_the_interval(jobs: Jobs) -> None:
    slow, fast = Runs(), Runs()
    jobs.every(HOUR, "a job", "", slow)
    jobs.start([JobRun("a job", HOUR, last_succeeded_at=START)])
    jobs.every(0.02, "a job", "", fast)
    await fast.until(2)
    assert slow.at == []
    assert state(jobs).run.interval_seconds == 0.02


async def test_a_run_that_takes_longer_than_the_interval_is_not_doubled(jobs: Jobs) -> None:
    running, most, release, ticks = 0, 0, asyncio.Event(), Runs()

    async def slow(_: datetime) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    jobs.every(0.02, "slow", "", slow)
    jobs.every(0.02, "ticks", "", ticks)
    jobs.start()
    await ticks.until(5)
    release.set()
    assert most == 1


async def test_stopping_what_never_started() -> None:
    Jobs(SettableClock()).stop()


async def test_what_a_run_did_is_remembered(jobs: Jobs, clock: SettableClock, heard: Heard) -> None:
    runs = Runs()
    runs.detail, runs.during = "7 rows removed", lambda: clock.advance(2.5)
    jobs.every(HOUR, "a job", "Removes rows.", runs)
    assert state(jobs) == JobState(JobRun("a job", HOUR), "Removes rows.", None)
    run = await jobs.run_now("a job")
    end = START + timedelta(seconds=2.5)
    assert run == JobRun("a job", HOUR, START, end, 2.5, JobOutcome.SUCCEEDED, "", "7 rows removed", end, 0)
    assert [each.last_finished_at for each in heard.kept] == [None, end]  # at its start, and at its end
    assert heard.kept[-1] == state(jobs).run == run
    assert heard.events == []


async def test_that_a_job_fails_and_works_again_is_told_once(jobs: Jobs, clock: SettableClock, heard: Heard) -> None:
    runs = Runs()
    runs.detail = "good"
    jobs.every(HOUR, "a job", "", runs)
    await jobs.run_now("a job")
    runs.error = UnavailableError("the database is away")
    for _ in range(3):
        clock.advance(60)
        run = await jobs.run_now("a job")
    assert (run.last_outcome, run.last_error, run.failures_in_a_row) == (JobOutcome.FAILED, "the database is away", 3)
    assert (run.detail, run.last_succeeded_at) == ("good", START)
    runs.error = None
    run = await jobs.run_now("a job")
    assert (run.last_outcome, run.last_error, run.failures_in_a_row) == (JobOutcome.SUCCEEDED, "", 0)
    assert [(event.kind, event.message) for event in heard.events] == [
        ("job_failed", "the job 'a job' failed: the database is away"),
        ("job_recovered", "the job 'a job' works again, after it failed 3 times in a row"),
    ]


async def test_a_fault_of_our_own_is_named_and_bounded(jobs: Jobs) -> None:
    runs = Runs()
    runs.error = ValueError("x" * 5000)
    jobs.every(HOUR, "a job", "", runs)
    with capture_logs():
        run = await jobs.run_now("a job")
    assert run.last_error.startswith("unexpected ValueError: xxx")
    assert len(run.last_error) == 500


async def test_a_run_that_the_end_cuts_off_is_told_as_interrupted(jobs: Jobs, heard: Heard) -> None:
    begun = asyncio.Event()

    async def endless(_: datetime) -> None:
        begun.set()
        await asyncio.Event().wait()

    jobs.every(0.02, "a job", "", endless)
    jobs.start()
    await begun.wait()
    assert state(jobs).run.last_outcome is None
    jobs.stop()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert state(jobs).run.last_outcome is JobOutcome.INTERRUPTED
    assert heard.kept[-1].last_outcome is JobOutcome.INTERRUPTED


async def test_what_a_killed_daemon_left_running_was_interrupted(jobs: Jobs) -> None:
    jobs.every(HOUR, "a job", "", Runs())
    left = JobRun("a job", 60.0, START, None, 1.0, JobOutcome.SUCCEEDED, "", "", START, 0)
    jobs.start([left, JobRun("a job of an older release", 60.0)])
    run = state(jobs).run
    assert (run.last_outcome, run.last_error, run.interval_seconds) == (
        JobOutcome.INTERRUPTED,
        "the daemon ended while it ran",
        HOUR,
    )
    assert len(jobs.states()) == 1


def _first_runs(jobs: Jobs) -> dict[str, float]:
    """In how many seconds each is to run, by the real clock that wakes them, rounded."""
    now = min(each.next_at for each in jobs.states() if each.next_at is not None)
    return {each.run.name: round((each.next_at - now).total_seconds()) for each in jobs.states() if each.next_at}


async def test_what_was_missed_while_down_runs_soon_one_after_another(jobs: Jobs) -> None:
    for name in ("missed", "never ran", "just ran"):
        jobs.every(HOUR, name, "", Runs())
    jobs.daily("11:00", "missed today", "", Runs())
    jobs.daily("13:30", "today still", "", Runs())
    ran = {
        "missed": timedelta(hours=3),
        "just ran": timedelta(minutes=20),
        "missed today": timedelta(hours=25),
        "today still": timedelta(hours=22),
    }
    jobs.start([JobRun(name, HOUR, last_succeeded_at=START - ago) for name, ago in ran.items()])
    first = CATCH_UP_SECONDS
    assert _first_runs(jobs) == {
        "missed": 0,
        "never ran": first,
        "missed today": 2 * first,
        "just ran": 40 * 60 - first,
        "today still": 90 * 60 - first,
    }


async def test_what_failed_last_is_tried_again_soon(jobs: Jobs) -> None:
    jobs.every(HOUR, "failed", "", Runs())
    jobs.every(HOUR, "good", "", Runs())
    ago = timedelta(minutes=10)
    jobs.start(
        [
            JobRun("failed", HOUR, last_finished_at=START, last_succeeded_at=START - 7 * ago, failures_in_a_row=1),
            JobRun("good", HOUR, last_succeeded_at=START - ago),
        ]
    )
    assert _first_runs(jobs) == {"failed": 0, "good": 50 * 60 - CATCH_UP_SECONDS}


async def test_a_clock_that_was_ahead_delays_nothing_for_long(jobs: Jobs) -> None:
    jobs.every(HOUR, "a job", "", Runs())
    jobs.every(2 * HOUR, "another", "", Runs())
    later = START + timedelta(days=400)
    jobs.start([JobRun("a job", HOUR, last_succeeded_at=later), JobRun("another", HOUR, last_succeeded_at=later)])
    assert _first_runs(jobs) == {"a job": 0, "another": HOUR}


async def test_of_a_job_that_runs_often_one_run_a_minute_is_kept_and_every_news(
    jobs: Jobs, clock: SettableClock, heard: Heard
) -> None:
    runs = Runs()
    jobs.every(10.0, "a job", "", runs)
    for _ in range(30):
        await jobs.run_now("a job")
        clock.advance(10)
    assert len(heard.kept) == 5
    runs.error = UnavailableError("away")
    await jobs.run_now("a job")
    assert heard.kept[-1].failures_in_a_row == 1
    count = len(heard.kept)
    await jobs.run_now("a job")
    assert len(heard.kept) == count
    assert state(jobs).run.failures_in_a_row == 2  # in memory all of them


async def test_a_run_out_of_turn_waits_for_the_one_under_way(jobs: Jobs) -> None:
    begun, release, order = asyncio.Event(), asyncio.Event(), list[str]()

    async def slow(_: datetime) -> None:
        order.append("begins")
        begun.set()
        await release.wait()
        order.append("ends")

    jobs.every(HOUR, "a job", "", slow)
    async with asyncio.TaskGroup() as both:
        both.create_task(jobs.run_now("a job"))
        await begun.wait()
        both.create_task(jobs.run_now("a job"))
        await asyncio.sleep(0)
        assert order == ["begins"]
        release.set()
    assert order == ["begins", "ends", "begins", "ends"]


async def test_a_time_of_day_that_is_none(jobs: Jobs) -> None:
    with pytest.raises(ValueError, match="HH:MM"):
        jobs.daily("25:00", "a job", "", Runs())
