"""The small parts: columns that fit, orders, bars, the roofline, words of the `:` line, colours that can be read."""

import math
import re

import pytest
from textual.color import Color

from console.command_words import COMMANDS, CommandError, completion, parse
from console.model.format import UNKNOWN
from console.screens.routes import NotFoundError, found
from console.themes import THEMES, theme_named
from console.widgets import bars
from console.widgets.columns import Column, fit
from console.widgets.engine_columns import COLUMNS
from console.widgets.roofline import Roof, roofline
from console.widgets.row_order import RowOrder, natural
from console.widgets.spans import Line, Tone, say, width_of
from tests.console.stage import Stage
from tests.fakes import fleet


def text_of(line: Line) -> str:
    return "".join(text for text, _ in line)


# ---- columns


@pytest.mark.parametrize("width", [1, 20, 60, 77, 80, 100, 117, 160, 300, 1000])
def test_columns_never_overlap_and_never_pass_the_edge(width: int) -> None:
    placed = fit(COLUMNS, width)
    assert placed
    ends = 0
    for each in placed:
        assert each.start >= ends
        ends = each.start + each.width
    assert ends <= width or len(placed) == 1


def test_the_least_important_columns_go_first() -> None:
    narrow = {each.column.key for each in fit(COLUMNS, 76)}
    wide = {each.column.key for each in fit(COLUMNS, 117)}
    assert {"engine", "state", "kv", "waiting", "roof", "ttft", "age"} <= narrow
    assert {"gauge", "bound", "hit", "batch", "running", "rate"} <= wide
    assert narrow < wide
    assert {each.column.key for each in fit(COLUMNS, 297)} == {column.key for column in COLUMNS}


def test_sort_keys_are_shifted_letters_used_once() -> None:
    keys = [column.sort_key for column in COLUMNS if column.sort_key]
    assert len(keys) == len(set(keys))
    assert all(key.isupper() and key != "G" for key in keys)


# ---- order


def order_of(values: dict[str, float | None]) -> RowOrder[float | None]:
    order: RowOrder[float | None] = RowOrder(lambda value: {"value": str(value)})
    order.sort_by(Column("v", "v", lambda *_: say(""), 5, 0, right=True, order=lambda value: value), values)
    return order


def test_unknown_sorts_last_both_ways() -> None:
    values = {"a": None, "b": 1.0, "c": 3.0, "d": None}
    order = order_of(values)
    assert order.keys == ["c", "b", "a", "d"]
    order.sort_by(order.column, values)
    assert order.keys == ["b", "c", "a", "d"]


def test_new_rows_join_at_the_end_of_an_order_by_figures() -> None:
    order = order_of({"b": 1.0, "c": 3.0})
    assert order.update({"b": 9.0, "c": 3.0, "n": 5.0})
    assert order.keys == ["c", "b", "n"]
    assert not order.update({"b": 0.0, "c": 3.0, "n": 5.0})


def test_names_order_as_people_count() -> None:
    assert sorted(["gcp-10", "gcp-2", "GCP-1", "10", "a"], key=natural) == ["10", "a", "GCP-1", "gcp-2", "gcp-10"]


# ---- bars


@pytest.mark.parametrize("ratio", [None, 0.0, 0.001, 0.5, 0.999, 1.0, 7.0, -1.0, math.nan])
@pytest.mark.parametrize("width", [1, 6, 40])
def test_a_bar_has_its_width(ratio: float | None, width: int) -> None:
    assert width_of(bars.bar(ratio, width)) == width


def test_a_bar_reads_without_colour() -> None:
    assert text_of(bars.bar(0.5, 4)) == "━━──"
    assert text_of(bars.bar(0.001, 4)) == "╸───"
    assert text_of(bars.bar(0.0, 4)) == "────"
    assert text_of(bars.bar(None, 4)) == "····"
    assert text_of(bars.bar_with_percent(None, 9)).endswith(UNKNOWN)


def test_the_gauge_puts_the_point_on_its_side_of_the_ridge() -> None:
    for intensity, side in ((3.4, -1), (11.1, -1), (11.2, 0), (11.3, 1), (99.0, 1)):
        drawn = text_of(bars.ridge_gauge(intensity, 11.2, 8))
        assert len(drawn) == 8
        place = drawn.index("●") - 6
        assert (place > 0) - (place < 0) == side
    assert text_of(bars.ridge_gauge(None, 11.2, 8)) == "·" * 8


def test_a_spread_keeps_its_width_and_its_order() -> None:
    drawn = text_of(bars.spread(0.1, 1.0, 30, floor=0.01, ceiling=30.0))
    assert len(drawn) == 30
    assert drawn.index("●") < drawn.index("┫")
    assert len(text_of(bars.spread(500.0, 900.0, 30, floor=0.01, ceiling=30.0))) == 30
    assert text_of(bars.spread(None, None, 10, floor=0.01, ceiling=30.0)) == "·" * 10


# ---- roofline


@pytest.mark.parametrize("intensity", [None, 1e-6, 3.4, 11.2, 5000.0])
def test_the_roofline_keeps_its_size(intensity: float | None) -> None:
    lines = roofline(Roof(790e12, 4.3e12, "measured"), intensity, 1e12, 50, 11)
    assert [width_of(line) for line in lines] == [50] * 11
    assert ("●" in "".join(map(text_of, lines))) is (intensity is not None)
    assert "ridge 184" in text_of(lines[-1])


def test_without_ceilings_it_says_how_to_get_them() -> None:
    assert "stoker-agent probe" in "".join(map(text_of, roofline(None, 3.4, None, 50, 11)))


# ---- words


def test_words_are_read_and_completed() -> None:
    view = fleet.small()
    order = parse(":ev")
    assert order is not None
    assert order.command.name == "events"
    assert parse("  ") is None
    with pytest.raises(CommandError, match="Write :engine"):
        parse("engine")
    assert completion("eng", view) == "engine"
    assert completion("node g", view) == "node gcp-1"
    assert completion("theme l", view) == "theme light"
    assert completion("quit x", view) is None
    names = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))


def test_things_are_found_by_name_or_by_the_only_match() -> None:
    assert found(["a-1", "a-11"], "a-1", "node") == "a-1"
    assert found(["a-1", "b-2"], "B", "node") == "b-2"
    with pytest.raises(NotFoundError, match="may be a-1, a-2"):
        found(["a-1", "a-2"], "a", "node")


# ---- colours


def contrast(one: Color, other: Color) -> float:
    def luminance(color: Color) -> float:
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_tone_can_be_read_on_every_ground(theme: object) -> None:
    variables = theme.variables  # type: ignore[attr-defined]
    least = 7.0 if "high-contrast" in theme.name else 4.5  # type: ignore[attr-defined]
    grounds = [theme.background, variables["raised"], variables["cursor"]]  # type: ignore[attr-defined]
    for tone in set(Tone) - {Tone.TRACK}:
        for ground in grounds:
            reached = contrast(Color.parse(variables[f"tone-{tone.value}"]), Color.parse(ground))
            wanted = least if ground != variables["cursor"] else 3.5
            assert reached >= wanted, f"{tone.value} on {ground}: {reached:.1f}"
    assert contrast(Color.parse(variables["on-alarm"]), Color.parse(variables["tone-bad"])) >= 4.5


def test_themes_have_short_names() -> None:
    assert theme_named("dark") == "stoker-dark"
    assert theme_named("contrast") == "stoker-high-contrast"
    assert theme_named("stoker-light") == "stoker-light"
    assert theme_named("nord") is None


async def test_no_color_turns_all_to_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with Stage(fleet.mixed()).running((120, 40)) as stage:
        fills = re.findall(r"\.terminal-[0-9]+-r[0-9]+ {[^}]*fill: #([0-9a-f]{6})", stage.app.export_screenshot())
    assert fills
    assert [fill for fill in fills if not fill[:2] == fill[2:4] == fill[4:] and fill != "c5c8c6"] == []
