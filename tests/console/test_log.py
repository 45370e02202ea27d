"""The log of an engine: `l` reads it from its node, says why it cannot, and shows nothing that could steer a terminal."""

from console.dialogs.confirm import ConfirmDialog
from console.dialogs.log_view import LogView
from console.link.errors import LinkError
from console.screens.engine import EngineScreen
from tests.console.stage import Stage
from tests.fakes import fleet

ENGINE = "llama-3-8b@gcp-1"


async def test_the_log_of_the_engine_pointed_to_is_shown_and_read_again() -> None:
    async with Stage(fleet.small()).running() as stage:
        stage.client.logs[ENGINE] = ("loading weights", "it \x1b[31mdied\rof this")
        await stage.press("l")
        stage.on(LogView)
        assert "loading weights" in stage.text
        assert "of this" in stage.text
        assert "\x1b[31m" not in stage.text
        stage.client.logs[ENGINE] = ("a newer line",)
        await stage.press("r")
        assert "a newer line" in stage.text
        await stage.press("escape", "enter")
        stage.on(EngineScreen)
        await stage.press("l")
        assert "a newer line" in stage.text


async def test_why_there_is_none_is_said() -> None:
    async with Stage(fleet.small()).running() as stage:
        stage.client.error = LinkError("conflict", "gcp-1 is not connected: try again when it is.")
        await stage.press("l")
        assert "gcp-1 is not connected" in stage.text
        await stage.press("escape")
        stage.table("nodes").focus()
        await stage.press("l")
        assert "Point to an engine" in stage.told


async def test_a_restart_is_shown_first_and_done_once() -> None:
    async with Stage(fleet.small()).running() as stage:
        await stage.press("a", "s")
        stage.on(ConfirmDialog)
        assert f"stoker restart {ENGINE}" in stage.text
        assert stage.client.real_calls == []
        await stage.pilot.click("#go")
        await stage.settled()
        assert stage.client.real_calls == [("restart", {"placement_id": ENGINE, "reason": "", "dry_run": False})]
