"""Times as SQLite's text: they sort as time does, and are told in UTC."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from controlplane.storage.column_types import FreeText, UtcTimestamp

SQLITE: Any = sqlite.dialect()
POSTGRESQL: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
_ANY_TIME = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))


@given(first=_ANY_TIME, second=_ANY_TIME)
def test_the_text_sorts_as_time_does_and_comes_back(first: datetime, second: datetime) -> None:
    try:
        first, second = first.astimezone(UTC), second.astimezone(UTC)
    except OverflowError:
        return
    column = UtcTimestamp()
    texts = [column.process_bind_param(each, SQLITE) for each in (first, second)]
    assert (texts[0] < texts[1]) == (first < second)
    assert [column.process_result_value(each, SQLITE) for each in texts] == [first, second]


def test_the_text_is_what_sqlites_own_functions_write() -> None:
    at = datetime(2026, 11, 22, 19, 30, 1, 5, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert UtcTimestamp().process_bind_param(at, SQLITE) == "2026-11-22 14:00:01.000005"


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL])
def test_a_time_without_a_zone_is_refused(dialect: Any) -> None:
    with pytest.raises(ValueError, match="time zone"):
        UtcTimestamp().process_bind_param(datetime(2026, 11, 22), dialect)  # noqa: DTZ001


@given(st.text(st.characters()))
def test_any_text_can_be_stored(text: str) -> None:
    stored = FreeText().process_bind_param(text, POSTGRESQL)
    assert stored is not None
    assert "\x00" not in stored
    stored.encode("utf-8")
