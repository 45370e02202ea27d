"""Getting about: keys, mouse, the `:` line and the palette lead where they say, and Esc leads back."""

import pytest

from console.screens.engine import EngineScreen
from console.screens.events import EventsScreen
from console.screens.help import HelpScreen
from console.screens.node import NodeScreen
from console.screens.overview import OverviewScreen
from console.widgets.fleet_table import FleetTable
from console.widgets.top_line import Crumbs
from tests.console.stage import Stage
from tests.fakes import fleet

SIZE = (120, 40)


async def test_enter_opens_what_the_cursor_is_on_and_escape_leads_back() -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.press("down", "enter")
        assert stage.on(EngineScreen).engine_id == "llama-3-8b@oci-1"
        assert "engine llama-3-8b@oci-1" in str(stage.app.screen.query_one(Crumbs).content)
        await stage.press("escape")
        stage.on(OverviewScreen)
        assert stage.table("engines").cursor_key == "llama-3-8b@oci-1"
        await stage.press("tab", "enter")
        stage.on(NodeScreen)
        await stage.press("enter")  # on the engine that is there
        stage.on(EngineScreen)
        await stage.press("escape", "escape", "escape")  # one too many does nothing
        stage.on(OverviewScreen)


async def test_number_keys_keep_each_mode_as_it_was_left() -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.press("enter", "2")
        stage.on(EventsScreen)
        await stage.press("1")
        stage.on(EngineScreen)
        await stage.press("1")
        stage.on(OverviewScreen)


async def test_a_problem_leads_to_its_cause() -> None:
    async with Stage(fleet.mixed()).running(SIZE) as stage:
        stage.table("problems").focus()
        await stage.press("home", "enter")
        assert stage.on(EngineScreen).engine_id == "llama-3-70b@gcp-2"
        assert "torch.OutOfMemoryError" in stage.text


async def test_a_model_filters_its_engines() -> None:
    async with Stage(fleet.mixed()).running(SIZE) as stage:
        stage.table("models").focus()
        await stage.press("end", "enter")
        assert len(stage.table("engines").order.keys) == 9
        assert all(key.startswith("Qwen") for key in stage.table("engines").order.keys)
        await stage.press("escape")
        assert len(stage.table("engines").order.keys) == 40


async def test_an_event_leads_to_its_engine() -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.press("2", "enter")
        assert stage.on(EngineScreen).engine_id == "llama-3-8b@oci-1"


@pytest.mark.parametrize(
    ("line", "screen"),
    [
        ("events", EventsScreen),
        ("ev", EventsScreen),
        ("engine llama-3-8b@oci-1", EngineScreen),
        ("node gcp", NodeScreen),
        ("help", HelpScreen),
    ],
)
async def test_the_line_goes_to(line: str, screen: type) -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.order(line)
        stage.on(screen)


async def test_tab_completes_the_line() -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.press("colon", *"engine", "space", *"llama-3-8b@o", "tab", "enter")
        assert stage.on(EngineScreen).engine_id == "llama-3-8b@oci-1"


@pytest.mark.parametrize(
    ("line", "word"),
    [("nonsense", "no :nonsense"), ("engine nope", "no engine nope"), ("node -1", "may be gcp-1, oci-1")],
)
async def test_a_line_that_means_nothing_is_answered_with_a_sentence(line: str, word: str) -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.order(line)
        assert word in stage.told


async def test_themes_change_by_word_and_an_unknown_one_is_named() -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.order("theme light")
        assert stage.app.theme == "stoker-light"
        await stage.order("theme tartan")
        assert stage.app.theme == "stoker-light"
        assert "no theme tartan" in stage.told


async def test_q_leaves_without_a_question_and_the_client_is_closed() -> None:
    stage = Stage(fleet.small())
    async with stage.running(SIZE):
        await stage.press("q")
    assert stage.app.return_code == 0
    assert stage.client.closed


async def test_help_shows_this_screens_words_and_every_action() -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.press("2", "question_mark")
        assert "The newest event is last" in stage.text
        assert "stoker drain" in stage.text
        await stage.press("escape")
        stage.on(EventsScreen)


async def test_the_mouse_points_opens_and_sorts() -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.pilot.click("#engines", offset=(10, 3))
        assert stage.table("engines").cursor_key == "llama-3-8b@oci-1"
        await stage.pilot.click("#engines", offset=(42, 1))  # the title of the KV cache
        assert stage.table("engines").order.keys == ["llama-3-8b@gcp-1", "llama-3-8b@oci-1"]
        assert stage.table("engines").order.descending
        await stage.pilot.click("#engines", offset=(10, 2), times=2)
        await stage.settled()
        stage.on(EngineScreen)


async def test_a_click_on_a_mode_goes_there() -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.pilot.click(Crumbs, offset=(16, 0))
        await stage.settled()
        stage.on(EventsScreen)


async def test_the_palette_finds_a_node_by_name() -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        await stage.press("ctrl+p", *"gcp")
        await stage.app.workers.wait_for_complete([each for each in stage.app.workers if each.group == "default"])
        await stage.until(lambda: "Node gcp-1" in stage.text)
        await stage.press("down", "enter")
        await stage.until(lambda: not isinstance(stage.app.screen, OverviewScreen))


async def test_screens_take_any_size_at_any_time() -> None:
    async with Stage(fleet.mixed()).running(SIZE) as stage:
        for keys in ((), ("enter",), ("escape", "tab", "enter"), ("2",)):
            await stage.press(*keys)
            for size in ((80, 24), (300, 100), (20, 6), SIZE):
                await stage.pilot.resize_terminal(*size)
                await stage.settled()
        assert isinstance(stage.app.screen.focused, FleetTable)


async def test_a_second_that_goes_by_while_a_screen_opens_does_no_harm() -> None:
    async with Stage(fleet.small()).running(SIZE) as stage:
        screen = EngineScreen("llama-3-8b@gcp-1", "prod-eu", read_only=False)
        screen.tick(stage.app.moment)  # not composed yet
        stage.app.push_screen(screen)
        screen.tick(stage.app.moment)
        await stage.settled()
        assert "llama-3-8b" in stage.text
