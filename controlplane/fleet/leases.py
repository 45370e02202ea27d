"""Leases: the right to use devices until a date, at a price. Facts, and what follows from them by arithmetic; pure.

Kept in SQL by `services.keep_leases`; people plan by them, and the history's costs are told with their prices. Nothing is
placed or stopped because of a lease: that is for people to do, who are reminded.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

DAY = timedelta(days=1)
REMIND_DAYS = (30, 14, 7, 3, 1)  # before a lease ends


@dataclass(frozen=True, slots=True)
class Lease:
    lease_id: str
    provider: str
    device_kind: str
    devices_count: int
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    created_by: str
    region: str = ""  # "": any
    nodes: tuple[str, ...] = ()  # none: any of its provider and region
    price_per_device_hour: float | None = None  # None: not told
    currency: str = ""  # "" without a price
    note: str = ""


def days_left(lease: Lease, now: datetime) -> int:
    """Whole days until its end, a part of one counting whole; 0 when it has ended."""
    return max(0, math.ceil((lease.ends_at - now) / DAY))


def due_reminder(lease: Lease, before: datetime, now: datetime) -> int | None:
    """Of REMIND_DAYS the nearest one to the end that was passed in (before, now]; None when none was, or it has ended."""
    if now >= lease.ends_at:
        return None
    passed = [days for days in REMIND_DAYS if before < lease.ends_at - days * DAY <= now]
    return min(passed, default=None)
