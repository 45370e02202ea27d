"""Which jobs there are, and how often each runs. Part of `bootstrap`; called at the start and after a reload.

A job is one module in `controlplane.jobs`, bound here to what it works on. The daemon starts, stops and reloads them.
"""

import functools
from collections.abc import Callable
from datetime import datetime

import structlog

from controlplane.bootstrap.live_settings import LiveSettings
from controlplane.bootstrap.wiring import Parts
from controlplane.errors import StokerError
from controlplane.jobs import (
    forget_old_history,
    keep_lead,
    keep_partitions,
    renew_own_certificates,
    roll_up,
    seal_audit,
)
from controlplane.jobs.scheduler import Jobs
from controlplane.storage.database import Database
from controlplane.storage.leader_lock import LeaderLock

log = structlog.get_logger(__name__)

HOUR = 3600.0
MINUTE = 60.0
LEAD_SECONDS = 10.0
SEAL_AUDIT = "seal the audit"  # also run when the daemon ends


def plan_jobs(
    jobs: Jobs,
    live: LiveSettings,
    database: Database,
    lock: LeaderLock,
    parts: Parts,
    on_lead_lost: Callable[[str], None],
) -> None:
    """Plan all jobs, or change their intervals to what the settings say now."""

    async def forget(now: datetime) -> str | None:
        history = live.now.history
        keep = forget_old_history.Keep(
            samples_hours=history.samples_retention_hours,
            minutes_days=history.minutes_retention_days,
            hours_days=history.hours_retention_days,
            requests_hours=history.requests_retention_hours,
            events_days=history.events_retention_days,
        )
        return await forget_old_history.run(database, keep, now)

    seal = functools.partial(seal_audit.run, database, parts.authority, parts.tell)
    lead = functools.partial(keep_lead.run, lock, on_lead_lost)
    renew = functools.partial(
        renew_own_certificates.run, parts.authority, parts.hosts, parts.gateway.files.write_static
    )
    roll = functools.partial(roll_up.run, database)
    partitions = functools.partial(keep_partitions.run, database)
    jobs.every(HOUR, "keep partitions", "Makes the next days' partitions on PostgreSQL.", partitions)
    jobs.every(MINUTE, "roll up", "Computes minutes and hours from what was sampled.", roll)
    jobs.every(HOUR, "forget old history", "Deletes what is older than it is to be kept.", forget)
    jobs.every(HOUR, "renew own certificates", "Renews the daemon's and the gateway's certificates.", renew)
    jobs.every(HOUR, "remind of leases", "Tells of leases that end soon.", parts.reminders.run)
    jobs.every(HOUR, SEAL_AUDIT, "Signs the audit's newest entry, so that changes before it can be proved.", seal)
    jobs.every(LEAD_SECONDS, "keep lead", "Makes sure that no other control plane leads.", lead)


async def start_jobs(jobs: Jobs, database: Database) -> None:
    """Start them with what the database remembers of their last runs; what was missed runs soon."""
    try:
        remembered = await database.read(lambda uow: uow.job_runs.all())
    except StokerError as error:
        log.warning("job_runs_not_remembered", error=str(error))
        remembered = []
    jobs.start(remembered)
