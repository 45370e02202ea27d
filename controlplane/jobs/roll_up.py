"""Compute minutes and hours from what was sampled. Woken by `jobs.scheduler` every minute.

Every step is a short transaction of its own, so that others get their turn between; a run that has much to catch up ends after so
many, and the next one goes on.
"""

from collections import Counter
from datetime import datetime

from controlplane.storage.database import Database

STEPS_MAX = 300


async def run(database: Database, now: datetime) -> str | None:
    """A sentence about what was computed. Raises UnavailableError when SQL is away."""
    done = Counter[str]()
    while (step := await database.run_background(lambda uow: uow.rollups.step(now))) is not None:
        done[step.kind] += 1
        if done.total() == STEPS_MAX:
            return f"catching up: {_told(done)}, and more is left after {step.kind} of {step.at:%Y-%m-%d %H:%M} UTC"
    return f"computed {_told(done)}" if done else None


def _told(done: Counter[str]) -> str:
    return ", ".join(f"{kind} in {count} steps" for kind, count in sorted(done.items()))
