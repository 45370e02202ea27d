"""How the screens look, as pictures: a change here is looked at before it is accepted (`pytest --snapshot-update`)."""

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from console.model.fleet_view import Connection, FleetView
from tests.console.stage import Stage
from tests.fakes import fleet

BIG, LEAST, WIDE = (120, 40), (80, 24), (300, 100)

LOOKS: dict[str, tuple[Callable[[], FleetView], tuple[int, int], str | None, tuple[str, ...]]] = {
    "overview-dark": (fleet.mixed, BIG, None, ()),
    "overview-light": (fleet.mixed, BIG, "light", ()),
    "overview-high-contrast": (fleet.mixed, BIG, "high-contrast", ()),
    "overview-least": (fleet.mixed, LEAST, None, ()),
    "overview-least-light": (fleet.mixed, LEAST, "light", ()),
    "overview-wide": (fleet.mixed, WIDE, None, ()),
    "overview-well": (fleet.small, BIG, None, ()),
    "overview-empty": (fleet.empty, BIG, None, ()),
    "overview-unknown": (fleet.unknown, BIG, None, ()),
    "node": (fleet.mixed, BIG, None, ("tab", "down", "enter")),
    "node-least": (fleet.mixed, LEAST, None, ("tab", "down", "enter")),
    "engine": (fleet.mixed, BIG, None, ("enter",)),
    "engine-failed": (fleet.mixed, BIG, None, ("tab", "tab", "tab", "enter")),
    "engine-failed-least": (fleet.mixed, LEAST, None, ("tab", "tab", "tab", "enter")),
    "events": (fleet.mixed, BIG, None, ("2", "up", "up")),
    "help": (fleet.mixed, BIG, None, ("question_mark",)),
    "actions": (fleet.mixed, BIG, None, ("a",)),
    "drain": (fleet.mixed, BIG, None, ("a", "d")),
}


@pytest.mark.parametrize("look", LOOKS)
def test_look(look: str, snap_compare: Callable[..., bool]) -> None:
    make, size, theme, keys = LOOKS[look]
    stage = Stage(make(), theme=theme)
    assert snap_compare(stage.app, terminal_size=size, run_before=_pressing(stage, keys))


def test_look_of_a_lost_link(snap_compare: Callable[..., bool]) -> None:
    stage = Stage(fleet.mixed())

    async def lose(pilot: Pilot[Any]) -> None:
        await _pressing(stage, ())(pilot)
        await stage.link(Connection.LOST, "The control plane cannot be reached at stoker.example:7443.")
        await stage.seconds_go_by(42)

    assert snap_compare(stage.app, terminal_size=BIG, run_before=lose)


def _pressing(stage: Stage, keys: tuple[str, ...]) -> Callable[[Pilot[Any]], Any]:
    async def press(pilot: Pilot[Any]) -> None:
        stage.pilot = pilot
        await stage.settled()
        await stage.press(*keys)

    return press
