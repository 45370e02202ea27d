"""APScheduler, set up once: UTC, one run of a job at a time, missed runs caught up once.

Called by `bootstrap`. The jobs themselves are functions of a context and `now` in modules of their own; this only wakes them,
and logs the ones that fail.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from controlplane.clock import Clock
from controlplane.errors import StokerError

log = structlog.get_logger(__name__)

Job = Callable[[datetime], Awaitable[None]]


class Jobs:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        self._scheduler.add_listener(_log_failure, EVENT_JOB_ERROR)

    def every(self, seconds: float, name: str, job: Job) -> None:
        """Run `job(now)` every so many seconds; called again for the same name it changes the interval."""

        async def run() -> None:
            try:
                await job(self._clock.now())
            except StokerError as error:
                log.warning("job_failed", job=name, error=str(error), code=error.code)

        self._scheduler.add_job(run, IntervalTrigger(seconds=seconds), id=name, name=name, replace_existing=True)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Start no more runs; one under way ends with the daemon's tasks."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _log_failure(event: JobExecutionEvent) -> None:
    log.error("job_crashed", job=event.job_id, exc_info=event.exception)
