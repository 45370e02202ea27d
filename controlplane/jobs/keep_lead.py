"""Make sure that we still lead: on PostgreSQL the lock goes when its connection does. Woken by `jobs.scheduler`."""

from collections.abc import Callable
from datetime import datetime

import structlog

from controlplane.errors import AlreadyRunningError, UnavailableError
from controlplane.storage.leader_lock import LeaderLock

log = structlog.get_logger(__name__)


async def run(lock: LeaderLock, on_lost: Callable[[str], None], now: datetime) -> None:
    """Take the lock again when it was lost; when another has it, we must end: two leaders would both command."""
    del now
    try:
        await lock.ensure()
    except AlreadyRunningError as error:
        log.error("lead_lost", error=str(error))
        on_lost(str(error))
    except UnavailableError as error:
        log.warning("lead_unknown", error=str(error))
