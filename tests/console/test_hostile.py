"""Text from outside is only ever text: no escape sequence, markup, link or bidirectional trick gets through."""

import re

import pytest

from console.widgets.spans import elided, fitted, say, width_of
from tests.console.stage import Stage
from tests.fakes import fleet

UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b-\u200f]")


@pytest.mark.parametrize(
    "keys",
    [
        (),
        ("enter",),
        ("tab", "enter"),
        ("2",),
        ("a",),
        ("a", "d"),
        ("a", "x"),
        ("a", "p"),
        ("question_mark",),
        ("enter", "question_mark"),
        ("ctrl+p", "e", "v", "i", "l"),
    ],
)
async def test_hostile_names_stay_text_on_every_screen(keys: tuple[str, ...]) -> None:
    async with Stage(fleet.hostile()).running((160, 48)) as stage:
        await stage.press(*keys)
        svg = stage.app.export_screenshot()
        assert UNSAFE.search(stage.text) is None
        assert "<a " not in svg
        assert "evil.example" not in re.sub(r"\[link=https://evil\.example\]click\[/link\]", "", stage.text)
        assert stage.app.is_running


async def test_markup_in_a_name_is_shown_not_obeyed() -> None:
    async with Stage(fleet.hostile()).running((160, 48)) as stage:
        assert "[red]pwn" in stage.text
        await stage.press("2")
        assert "[red]pwn" in stage.text
        stage.client.answer = type(stage.client.answer)((fleet.HOSTILE,), (fleet.HOSTILE,), changed=True)
        await stage.press("1", "a", "d")
        await stage.pilot.click("#go")
        await stage.settled()
        assert UNSAFE.search(stage.text) is None
        assert "[red]pwn[/]" in stage.told


async def test_a_click_on_a_hostile_name_does_not_quit() -> None:
    async with Stage(fleet.hostile()).running((160, 48)) as stage:
        for y in range(1, 40, 3):
            await stage.pilot.click(offset=(20, y))
        await stage.settled()
        assert stage.app.is_running


def test_wide_and_long_text_keeps_its_cells() -> None:
    for text in ("模型-大-语言", "a" * 99, "é" * 5, ""):
        for width in (1, 2, 5, 8, 30):
            assert width_of(fitted(say(text), width)) == width
            assert width_of(fitted(say(text), width, right=True)) == width
    assert elided("Qwen-Qwen2.5-72B-Instruct@oci-2", 16).endswith("@oci-2")
