"""APScheduler, set up once: UTC, one run of a job at a time, missed runs caught up once, each run remembered.

Called by `bootstrap`. The jobs themselves are functions of a context and `now` in modules of their own, which may answer with
a sentence about what they did; this wakes them, remembers how they went, and tells when one begins to fail and when it
works again. It knows no database: what is to be kept goes to `keep`, which must not wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from controlplane.clock import Clock
from controlplane.errors import StokerError
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.jobs import SELDOM_SECONDS_MIN, Daily, Every, JobOutcome, JobRun, JobState, Schedule
from controlplane.fleet.observed import Severity

log = structlog.get_logger(__name__)

Job = Callable[[datetime], Awaitable[str | None]]

# Runs that were missed are caught up one after another, so that they do not all meet the agents that come back.
CATCH_UP_SECONDS = 5.0
ERROR_MAX = 500


@dataclass(eq=False)
class _Planned:
    """One job: what it does, when, and how it went."""

    schedule: Schedule
    purpose: str
    job: Job
    run: JobRun
    kept_at: datetime | None = None
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)


class Jobs:
    def __init__(
        self,
        clock: Clock,
        tell: Callable[[Iterable[FleetEvent]], None] = lambda _: None,
        keep: Callable[[Sequence[JobRun]], None] = lambda _: None,
    ) -> None:
        """`tell` takes events; `keep` takes how jobs went, the newest last. Neither may block."""
        self._clock = clock
        self._tell = tell
        self._keep = keep
        self._planned: dict[str, _Planned] = {}
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    def every(self, seconds: float, name: str, purpose: str, job: Job) -> None:
        """Run `job(now)` every so many seconds; called again for the same name it changes the interval."""
        self._plan(Every(seconds), name, purpose, job)

    def daily(self, at: str, name: str, purpose: str, job: Job) -> None:
        """Run `job(now)` once a day at `at`, "HH:MM" in UTC; called again for the same name it changes the time."""
        self._plan(Daily.parse(at), name, purpose, job)

    def start(self, remembered: Iterable[JobRun] = ()) -> None:
        """Begin. `remembered`: how jobs went before this daemon started; what was missed since runs soon."""
        for run in remembered:
            planned = self._planned.get(run.name)
            if planned is not None:
                planned.run = _as_found(run, planned.schedule)
        self._scheduler.start()
        turn = 0
        for name, planned in self._planned.items():
            first_seconds = self._first_seconds(planned)
            if first_seconds is not None and first_seconds <= 0:
                turn += 1
                first_seconds = CATCH_UP_SECONDS * turn
            self._schedule(name, planned, first_seconds)

    def stop(self) -> None:
        """Start no more runs; one under way is interrupted. `run_now` still works."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    async def run_now(self, name: str) -> JobRun:
        """Run a job out of its turn, after a run that is under way. It never raises what the job raises."""
        planned = self._planned[name]
        await self._run(planned)
        return planned.run

    def states(self) -> tuple[JobState, ...]:
        """All jobs by name, as they are now."""
        return tuple(
            JobState(planned.run, planned.purpose, self._next_at(name))
            for name, planned in sorted(self._planned.items())
        )

    def _plan(self, schedule: Schedule, name: str, purpose: str, job: Job) -> None:
        known = self._planned.get(name)
        if known is None:
            planned = _Planned(schedule, purpose, job, JobRun(name, schedule.interval_seconds))
            self._planned[name] = planned
        else:
            planned, changed = known, known.schedule != schedule
            known.schedule, known.purpose, known.job = schedule, purpose, job
            known.run = replace(known.run, interval_seconds=schedule.interval_seconds)
            if not changed:
                return
        if self._scheduler.running:
            self._schedule(name, planned, None)

    def _schedule(self, name: str, planned: _Planned, first_seconds: float | None) -> None:
        async def run() -> None:
            await self._run(planned)

        trigger = _trigger(planned.schedule)
        if first_seconds is not None:
            trigger = _FirstAfter(timedelta(seconds=first_seconds), trigger)
        self._scheduler.add_job(run, trigger, id=name, name=name, replace_existing=True)

    def _first_seconds(self, planned: _Planned) -> float | None:
        """Until its first run; 0 or less when it is overdue, None when that is as if it had just run."""
        if planned.schedule.interval_seconds < SELDOM_SECONDS_MIN:
            return None
        now = self._clock.now()
        until = (planned.schedule.due_at(planned.run.last_succeeded_at, now) - now).total_seconds()
        return min(until, planned.schedule.interval_seconds)  # the clock may have been ahead when it last ran

    def _next_at(self, name: str) -> datetime | None:
        found = self._scheduler.get_job(name) if self._scheduler.running else None
        return None if found is None else found.next_run_time

    async def _run(self, planned: _Planned) -> None:
        async with planned.one_at_a_time:
            before, started_at, began = planned.run, self._clock.now(), self._clock.monotonic()
            self._note(planned, replace(before, last_started_at=started_at, last_finished_at=None))
            error, outcome, detail = "", JobOutcome.SUCCEEDED, ""
            try:
                detail = await planned.job(started_at) or ""
            except StokerError as failure:
                error, outcome = str(failure), JobOutcome.FAILED
                log.warning("job_failed", job=before.name, error=error, code=failure.code)
            except Exception as failure:  # a fault of one job must not keep it, or others, from running
                error, outcome = f"unexpected {type(failure).__name__}: {failure}", JobOutcome.FAILED
                log.error("job_crashed", job=before.name, exc_info=failure)
            except asyncio.CancelledError:
                self._ended(planned, JobOutcome.INTERRUPTED, "the daemon ended while it ran", "", began)
                raise
            self._ended(planned, outcome, error[:ERROR_MAX], detail, began)
            self._tell(_news(before, planned.run, self._clock.now()))

    def _ended(self, planned: _Planned, outcome: JobOutcome, error: str, detail: str, began: float) -> None:
        run, good = planned.run, outcome is JobOutcome.SUCCEEDED
        now = self._clock.now()
        failures = {JobOutcome.SUCCEEDED: 0, JobOutcome.FAILED: run.failures_in_a_row + 1}
        self._note(
            planned,
            replace(
                run,
                last_finished_at=now,
                last_duration_seconds=max(0.0, self._clock.monotonic() - began),
                last_outcome=outcome,
                last_error=error,
                detail=detail if good else run.detail,
                last_succeeded_at=now if good else run.last_succeeded_at,
                failures_in_a_row=failures.get(outcome, run.failures_in_a_row),
            ),
        )

    def _note(self, planned: _Planned, run: JobRun) -> None:
        """Remember it, and have it kept: of a job that runs often, only news, and one run a minute once it has ended."""
        before, planned.run = planned.run, run
        now = self._clock.now()
        if planned.schedule.interval_seconds < SELDOM_SECONDS_MIN:
            if run.last_finished_at is None:
                return
            same = before.last_outcome is run.last_outcome and before.last_error == run.last_error
            if same and planned.kept_at is not None and (now - planned.kept_at).total_seconds() < SELDOM_SECONDS_MIN:
                return
        planned.kept_at = now
        self._keep([run])


class _FirstAfter(BaseTrigger):  # type: ignore[misc] # APScheduler has no types
    """Fires first after a while, and then as another trigger says."""

    def __init__(self, first: timedelta, then: BaseTrigger) -> None:
        self._first = first
        self._then = then

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> Any:
        if previous_fire_time is None:
            return now + self._first
        return self._then.get_next_fire_time(previous_fire_time, now)


def _trigger(schedule: Schedule) -> BaseTrigger:
    if isinstance(schedule, Daily):
        return CronTrigger(hour=schedule.hour, minute=schedule.minute, timezone=UTC)
    return IntervalTrigger(seconds=schedule.seconds)


def _as_found(run: JobRun, schedule: Schedule) -> JobRun:
    """What the database remembers. A run that never ended was cut off with its daemon."""
    run = replace(run, interval_seconds=schedule.interval_seconds)
    if run.last_started_at is None or run.last_finished_at is not None:
        return run
    return replace(run, last_outcome=JobOutcome.INTERRUPTED, last_error="the daemon ended while it ran")


def _news(before: JobRun, after: JobRun, now: datetime) -> list[FleetEvent]:
    """What operators are told: that a job begins to fail, and that it works again."""
    if after.failures_in_a_row and not before.failures_in_a_row:
        message = f"the job {after.name!r} failed: {after.last_error}"
        action = "it is tried again in its turn; stoker jobs shows how it goes"
        return [FleetEvent(now, Severity.ERROR, "job_failed", message, action=action)]
    if before.failures_in_a_row and not after.failures_in_a_row:
        times = "once" if before.failures_in_a_row == 1 else f"{before.failures_in_a_row} times in a row"
        message = f"the job {after.name!r} works again, after it failed {times}"
        return [FleetEvent(now, Severity.INFO, "job_recovered", message)]
    return []
