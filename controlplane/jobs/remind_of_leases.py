"""Remind people of leases that end. Woken by `jobs.scheduler`; `Reminders` remembers up to when it has told."""

from datetime import datetime, timedelta

from controlplane.services.keep_leases import KeepLeases

# At start what fell due in the last day is told (again): better twice than, over a restart, never.
_LOOK_BACK = timedelta(days=1)


class Reminders:
    def __init__(self, leases: KeepLeases) -> None:
        self._leases = leases
        self._told_until: datetime | None = None

    async def run(self, now: datetime) -> str | None:
        """Raises UnavailableError when the database is away; the next run then tells what this one could not."""
        before = self._told_until or now - _LOOK_BACK
        if now <= before:  # a clock that was set back
            return None
        told = await self._leases.remind(before, now)
        self._told_until = now
        return f"told of {told}" if told else None
