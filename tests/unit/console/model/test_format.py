"""Numbers and text for people: unknown is a dash, three figures are enough, and nothing can steer a terminal."""

import math
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.model import format as fmt
from tests.fakes.fleet import HOSTILE

NOW = datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC)
any_number = st.one_of(st.none(), st.floats(), st.integers(-(10**25), 10**25))


@given(st.text(st.characters()))
@example(HOSTILE)
@example("\x1b]0;title\x07\x1bP1$r\x1b\\\x9b31m\x1b")
@example("\u202egpj.exe\u2066\u200b\ufeff\u2028")
def test_clean_text_never_steers_a_terminal(text: str) -> None:
    cleaned = fmt.clean(text)
    assert not [each for each in cleaned if unicodedata.category(each) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}]
    assert fmt.clean(cleaned) == cleaned
    cleaned.encode("utf-8")


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert fmt.clean(text) == text


def test_an_escape_sequence_leaves_one_mark_and_no_rest() -> None:
    assert fmt.clean("a\x1b[31;1mb\x1b[0mc") == "a\ufffdb\ufffdc"
    assert fmt.clean("a\x1b]8;;https://evil.example\x07b") == "a\ufffdb"
    assert fmt.clean("a\nb\tc") == "a b c"
    assert fmt.clean("[red]markup is only text[/]") == "[red]markup is only text[/]"


@given(st.text(), st.integers(0, 20))
def test_clean_text_keeps_to_its_length(text: str, length_max: int) -> None:
    assert len(fmt.clean(text, length_max=length_max)) <= length_max


def test_lines_are_split_and_cleaned() -> None:
    assert fmt.clean_lines(["a\r\nb", "c\x1b[2J"]) == ("a", "b", "c\ufffd")


@given(any_number)
def test_every_number_has_a_short_text_and_unknown_is_a_dash(value: float | None) -> None:
    for show in (
        fmt.quantity,
        fmt.tokens,
        fmt.per_second,
        fmt.memory,
        fmt.flops_per_second,
        fmt.bytes_per_second,
        fmt.intensity,
        fmt.seconds,
        fmt.duration,
        fmt.percent,
    ):
        text = show(value)
        if value is None or not math.isfinite(value):
            assert text == fmt.UNKNOWN
        else:
            assert text
            assert text != fmt.UNKNOWN


@given(st.one_of(st.none(), st.floats()), st.integers(0, 60))
def test_a_bar_is_as_wide_as_asked(ratio: float | None, width: int) -> None:
    assert len(fmt.bar(ratio, width)) == width


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (999.7, "1.0k"),
        (1000, "1.0k"),
        (12_345, "12.3k"),
        (999_960, "1.0M"),
        (123_456, "123k"),
        (1_234_567, "1.2M"),
        (3.14159, "3.1"),
        (99.96, "100"),
        (-5_000, "-5.0k"),
    ],
)
def test_quantities(value: float, text: str) -> None:
    assert fmt.quantity(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 s"),
        (0.00085, "850 µs"),
        (0.0021, "2.1 ms"),
        (0.085, "85 ms"),
        (0.9996, "1.0 s"),
        (1.24, "1.2 s"),
        (59.96, "1 min"),
        (125, "2 min 05 s"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert fmt.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7500, "2 h 05 min"),
        (86_400 * 3 + 4 * 3600, "3 d 04 h"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert fmt.duration(value) == text


def test_memory_and_rates() -> None:
    assert fmt.memory(512) == "512 B"
    assert fmt.memory(80 * 2**30) == "80.0 GiB"
    assert fmt.memory(1023.99 * 2**30) == "1.0 TiB"
    assert fmt.flops_per_second(790e12) == "790 TFLOP/s"
    assert fmt.bytes_per_second(4.3e12) == "4.3 TB/s"
    assert fmt.per_second(1234.0) == "1.2k tok/s"


def test_ages() -> None:
    assert fmt.age(NOW - timedelta(seconds=3.9), NOW) == "3 s"
    assert fmt.age(NOW - timedelta(minutes=90), NOW) == "1 h"
    assert fmt.age(NOW + timedelta(seconds=5), NOW) == "0 s"
    assert fmt.age(None, NOW) == fmt.age(NOW, None) == fmt.UNKNOWN


def test_percent_never_rounds_to_all_or_nothing() -> None:
    texts = [fmt.percent(ratio) for ratio in (0.0, 0.001, 0.42, 0.999, 1.0, 1.2)]
    assert texts == ["0%", "<1%", "42%", ">99%", "100%", "120%"]


def test_bars_and_sparklines() -> None:
    assert fmt.bar(0.5, 4) == "██  "
    assert fmt.bar(0.0001, 4) == "▏   "
    assert fmt.bar(None, 4) == "····"
    assert fmt.bar_percent(0.42, 10) == "████▎       42%"
    assert fmt.sparkline([0.0, None, 0.5, 1.0], maximum=1.0) == "▁ ▄█"
    assert fmt.sparkline([]) == ""
    assert fmt.sparkline([0.0, 0.0]) == "▁▁"


def test_moments() -> None:
    assert fmt.instant(NOW) == "2026-01-31 23:59:58Z"
    assert fmt.clock_time(NOW) == "23:59:58Z"
    assert fmt.instant(None) == fmt.UNKNOWN
