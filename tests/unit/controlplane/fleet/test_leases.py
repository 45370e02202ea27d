"""When a lease's end is near, and that each reminder comes once."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.leases import DAY, REMIND_DAYS, Lease, days_left, due_reminder

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = Lease("l", "gcp", "H100", 8, starts_at=T0, ends_at=T0 + 90 * DAY, created_at=T0, created_by="operator:ann")


def test_a_part_of_a_day_counts_whole() -> None:
    assert days_left(LEASE, LEASE.ends_at - timedelta(hours=25)) == 2
    assert days_left(LEASE, LEASE.ends_at - timedelta(seconds=1)) == 1
    assert days_left(LEASE, LEASE.ends_at) == 0
    assert days_left(LEASE, LEASE.ends_at + DAY) == 0


def test_after_a_long_silence_only_the_nearest_is_told() -> None:
    assert due_reminder(LEASE, LEASE.ends_at - 31 * DAY, LEASE.ends_at - 2 * DAY) == 3
    assert due_reminder(LEASE, LEASE.ends_at - 31 * DAY, LEASE.ends_at) is None


@given(st.lists(st.floats(0.01, 40), min_size=1, max_size=60))
def test_each_reminder_is_told_at_most_once(steps: list[float]) -> None:
    told, before = [], LEASE.ends_at - 100 * DAY
    for step in steps:
        now = before + timedelta(days=step)
        if (days := due_reminder(LEASE, before, now)) is not None:
            told.append(days)
            assert LEASE.ends_at - days * DAY <= now
        before = now
    assert sorted(set(told), reverse=True) == told
    assert set(told) <= set(REMIND_DAYS)
