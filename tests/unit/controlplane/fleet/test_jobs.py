"""When a job is due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.jobs import Daily, Every

NOW = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
times = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_what_never_succeeded_is_due_now() -> None:
    assert Every(3600).due_at(None, NOW) == NOW
    assert Daily(3, 30).due_at(None, NOW) == NOW


def test_an_interval_counts_from_the_last_success() -> None:
    assert Every(3600).due_at(NOW - timedelta(minutes=20), NOW) == NOW + timedelta(minutes=40)
    assert Every(3600).due_at(NOW - timedelta(hours=5), NOW) < NOW


@pytest.mark.parametrize(
    ("last", "due"),
    [
        (datetime(2026, 11, 22, 3, 30, tzinfo=UTC), datetime(2026, 11, 23, 3, 30, tzinfo=UTC)),
        (datetime(2026, 11, 22, 3, 29, 59, tzinfo=UTC), datetime(2026, 11, 22, 3, 30, tzinfo=UTC)),
        (datetime(2026, 11, 20, 23, 0, tzinfo=UTC), datetime(2026, 11, 21, 3, 30, tzinfo=UTC)),  # missed
    ],
)
def test_a_daily_job_is_due_at_the_next_such_time_after_its_last_success(last: datetime, due: datetime) -> None:
    assert Daily(3, 30).due_at(last, NOW) == due


@given(times, st.integers(0, 23), st.integers(0, 59))
def test_a_daily_job_is_due_once_within_a_day_of_its_last_success(last: datetime, hour: int, minute: int) -> None:
    due = Daily(hour, minute).due_at(last, NOW)
    assert timedelta(0) < due - last <= timedelta(days=1)
    assert (due.hour, due.minute) == (hour, minute)


def test_times_of_day_as_people_write_them() -> None:
    assert Daily.parse("03:05") == Daily(3, 5)
    for bad in ("3", "24:00", "12:60", "noon", "-1:00", ""):
        with pytest.raises(ValueError):  # noqa: PT011 - int()'s own message for what is no number
            Daily.parse(bad)
