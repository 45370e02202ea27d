import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.model.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("10m", 600),
        ("2h", 7200),
        ("90d", 7_776_000),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (" 1 H 30 M ", 5400),
    ],
)
def test_what_people_type(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10", "m", "10x", "-5m", "30m1h", "1h1h", "1h30", "1e9d", "99999999d", "٣m", "1..5h"]
)
def test_what_is_wrong_is_said_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"10m|100 years"):
        parse_duration(text)


@given(st.text())
def test_anything_is_seconds_or_a_clear_error(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except ValueError as error:
        assert "." in str(error)  # noqa: PT017 - a sentence
