"""Jobs: when they are due, and how their last runs went. Pure; used by `jobs.scheduler`, services and storage."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

DAY_SECONDS = 86_400.0
# A job that runs more often than this is not caught up, and its row is not written at each run.
SELDOM_SECONDS_MIN = 60.0


class JobOutcome(Enum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # the daemon ended while it ran


@dataclass(frozen=True, slots=True)
class Every:
    """Again and again, so many seconds apart."""

    seconds: float

    @property
    def interval_seconds(self) -> float:
        return self.seconds

    def due_at(self, last_succeeded_at: datetime | None, now: datetime) -> datetime:
        """When it is to run next; `now` or earlier when a run was missed. One that never succeeded is due."""
        return now if last_succeeded_at is None else last_succeeded_at + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Daily:
    """Once a day, at this time in UTC."""

    hour: int
    minute: int

    @classmethod
    def parse(cls, at: str) -> "Daily":
        """From "HH:MM". Raises ValueError."""
        hour, colon, minute = at.partition(":")
        made = cls(int(hour), int(minute))
        if not colon or not (0 <= made.hour < 24 and 0 <= made.minute < 60):
            raise ValueError(f"{at!a} is no time of a day: write HH:MM")
        return made

    @property
    def interval_seconds(self) -> float:
        return DAY_SECONDS

    def due_at(self, last_succeeded_at: datetime | None, now: datetime) -> datetime:
        """When it is to run next; `now` or earlier when a run was missed. One that never succeeded is due."""
        if last_succeeded_at is None:
            return now
        after = last_succeeded_at.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0)
        return after if after > last_succeeded_at else after + timedelta(days=1)


Schedule = Every | Daily


@dataclass(frozen=True, slots=True)
class JobRun:
    """How a job's last run went; all but the name unknown when it never ran."""

    name: str
    interval_seconds: float
    last_started_at: datetime | None = None
    last_finished_at: datetime | None = None  # None also while it runs
    last_duration_seconds: float | None = None
    last_outcome: JobOutcome | None = None  # of the last run that ended
    last_error: str = ""  # "" after a success
    detail: str = ""  # what the last run that succeeded did, for people
    last_succeeded_at: datetime | None = None
    failures_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as operators see it."""

    run: JobRun
    purpose: str
    next_at: datetime | None  # None: not planned, since the daemon is starting or ending
