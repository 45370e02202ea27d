"""Hands: an action shows first what it will do, does it only when confirmed, and never for who may not."""

from dataclasses import replace

import pytest
from textual.widgets import Button, Input, Static

from console.actions import ACTIONS, Request, action_named, refusal
from console.dialogs.action_menu import ActionMenu
from console.dialogs.confirm import ConfirmDialog
from console.dialogs.place_form import PlaceForm
from console.link.errors import LinkError
from console.model.answers import ActionAnswer
from console.model.fleet_view import Connection, FleetView
from console.model.overview import Topic
from console.screens.overview import OverviewScreen
from tests.console.stage import Stage
from tests.fakes import fleet

ENGINE = "llama-3-8b@gcp-1"


async def test_drain_shows_the_steps_and_the_command_then_does_it_once() -> None:
    async with Stage(fleet.small()).running() as stage:
        await stage.press("a")
        stage.on(ActionMenu)
        await stage.press("d")
        stage.on(ConfirmDialog)
        assert "Wait for 50 requests." in stage.text
        assert f"stoker drain {ENGINE}" in stage.text
        assert stage.client.real_calls == []
        await stage.pilot.click("#go")
        await stage.settled()
        arguments = {"placement_id": ENGINE, "node": "", "reason": "", "dry_run": False}
        assert stage.client.real_calls == [("drain", arguments)]
        stage.on(OverviewScreen)
        assert f"Undo: stoker resume {ENGINE}" in stage.told


async def test_a_reason_is_part_of_the_command_and_of_the_call() -> None:
    async with Stage(fleet.small()).running() as stage:
        stage.table("nodes").focus()
        await stage.press("a", "d")
        stage.app.screen.query_one("#reason", Input).value = "fan tray"
        await stage.settled()
        assert "stoker drain --node gcp-1 --reason 'fan tray'" in stage.text
        await stage.pilot.click("#go")
        await stage.settled()
        assert stage.client.real_calls == [
            ("drain", {"placement_id": "", "node": "gcp-1", "reason": "fan tray", "dry_run": False})
        ]


async def test_enter_alone_never_acts() -> None:
    async with Stage(fleet.small()).running() as stage:
        await stage.press("a", "enter", "enter", "enter")
        assert stage.client.real_calls == []


async def test_remove_asks_for_the_name() -> None:
    async with Stage(fleet.small()).running() as stage:
        await stage.press("a", "x")
        go = stage.app.screen.query_one("#go", Button)
        assert go.disabled
        await stage.press(*"llama-3-8b", "enter")
        assert go.disabled
        assert stage.client.real_calls == []
        await stage.press(*"@gcp-1", "enter")
        assert stage.client.real_calls == [("remove", {"placement_id": ENGINE, "reason": "", "dry_run": False})]


async def test_place_asks_what_and_where_and_passes_everything_on() -> None:
    async with Stage(fleet.small()).running() as stage:
        await stage.press("a", "p")
        stage.on(PlaceForm)
        form = {"node": "oci-1", "source": "/models/x", "devices": "hip:0, hip:1", "args": "--max-model-len 8192"}
        for name, value in form.items():
            stage.app.screen.query_one(f"#{name}", Input).value = value
        await stage.pilot.click("#go")
        await stage.settled()
        stage.on(ConfirmDialog)
        twin = str(stage.app.screen.query_one("#twin", Static).content)
        assert (
            "place llama-3-8b --node oci-1 --source /models/x --device hip:0 --device hip:1 -- --max-model-len" in twin
        )
        await stage.pilot.click("#go")
        await stage.settled()
        ((name, arguments),) = stage.client.real_calls
        assert name == "place"
        assert arguments == {
            "model": "llama-3-8b",
            "node": "oci-1",
            "source": "/models/x",
            "engine_args": ("--max-model-len", "8192"),
            "device_ids": ("hip:0", "hip:1"),
            "deployment": "",
            "dry_run": False,
        }


async def test_place_without_a_node_or_with_half_a_quote_says_so() -> None:
    async with Stage(fleet.small()).running() as stage:
        await stage.press("a", "p", "enter")
        assert "Name the node." in stage.text
        stage.app.screen.query_one("#node", Input).value = "oci-1"
        stage.app.screen.query_one("#args", Input).value = '"half'
        await stage.press("enter")
        assert "cannot be read" in stage.text
        assert stage.client.calls == []


async def test_what_cannot_be_done_is_said_before_it_is_tried() -> None:
    async with Stage(fleet.small()).running() as stage:
        stage.client.error = LinkError("conflict", "The node is cordoned. Resume it first.")
        await stage.press("a", "d")
        assert "Resume it first." in stage.text
        go = stage.app.screen.query_one("#go", Button)
        assert (go.disabled, go.display) == (True, False)


@pytest.mark.parametrize(("connected", "offered"), [(True, "Restart now"), (False, "Restart when gcp-1 is back")])
async def test_a_restart_that_must_wait_for_its_node_is_not_offered_for_now(connected: bool, offered: str) -> None:
    view = fleet.small()
    node = replace(view.nodes["gcp-1"], connected=connected)
    async with Stage(replace(view, nodes={**view.nodes, "gcp-1": node})).running() as stage:
        await stage.order(f"restart {ENGINE}")
        stage.on(ConfirmDialog)
        assert str(stage.app.screen.query_one("#go", Button).label) == offered


async def test_a_failure_is_told_and_nothing_is_claimed() -> None:
    async with Stage(fleet.small()).running() as stage:
        await stage.press("a", "d")
        stage.client.error = LinkError("unavailable", "It did not answer in time.")
        await stage.pilot.click("#go")
        await stage.settled()
        assert "Drain failed: It did not answer in time." in stage.told
        assert "Undo" not in stage.told


async def test_what_was_so_already_is_told_as_that() -> None:
    async with Stage(fleet.small()).running() as stage:
        stage.client.answer = ActionAnswer((), (), changed=False)
        await stage.press("a", "r")
        assert "Nothing would change" in stage.text
        await stage.pilot.click("#go")
        await stage.settled()
        assert "so already" in stage.told


async def test_a_link_that_goes_while_one_decides_stops_the_action() -> None:
    async with Stage(fleet.small()).running() as stage:
        await stage.press("a", "d")
        await stage.link(Connection.LOST, "gone")
        await stage.pilot.click("#go")
        await stage.settled()
        assert stage.client.real_calls == []
        assert "not connected" in stage.told


@pytest.mark.parametrize(
    ("read_only", "role", "why"),
    [
        (True, "admin", "read-only"),
        (False, "viewer", "needs the role operator; yours is viewer"),
        (False, "", "unknown"),
    ],
)
async def test_who_may_not_sees_why_and_cannot(read_only: bool, role: str, why: str) -> None:
    view = replace(fleet.small(), server=fleet.server(caller_role=role))
    async with Stage(view, read_only=read_only).running() as stage:
        for key in ("d", "x", "p", "r"):
            await stage.press("a", key)
            assert why in stage.text
            await stage.press("escape")
        await stage.order(f"drain {ENGINE}")
        assert why in stage.told
        assert stage.client.calls == []


async def test_actions_by_name_and_on_the_screen_of_a_thing() -> None:
    async with Stage(fleet.small()).running() as stage:
        await stage.order("drain oci-1")
        stage.on(ConfirmDialog)
        await stage.press("escape", "enter", "a", "d")  # on the engine's own screen
        assert f"stoker drain {ENGINE}" in stage.text
        await stage.press("escape")
        assert stage.client.real_calls == []


async def test_the_command_is_copied() -> None:
    async with Stage(fleet.small()).running() as stage:
        await stage.press("a", "d", "ctrl+y")
        assert stage.app.clipboard == f"stoker drain {ENGINE}"


def test_refusals_name_what_is_missing() -> None:
    forget = action_named("forget")
    assert forget is not None
    stage = Stage(None)
    live = replace(stage.app.moment, connection=Connection.LIVE)
    view = FleetView(server=fleet.server())
    assert refusal(forget, Topic.ENGINE, view, live, read_only=False) == "not for an engine"
    assert "role admin" in str(refusal(forget, Topic.NODE, view, live, read_only=False))
    assert refusal(forget, Topic.NODE, view, stage.app.moment, read_only=False) is not None
    admin = FleetView(server=fleet.server(caller_role="admin"))
    assert refusal(forget, Topic.NODE, admin, live, read_only=False) is None


def test_every_action_has_its_own_key_and_a_quoted_twin() -> None:
    assert len({action.key for action in ACTIONS}) == len(ACTIONS)
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    request = Request(placement_id="x; reboot", node="n", model="m m", reason="it's late")
    for action in ACTIONS:
        assert "; reboot" not in action.command_line(request).replace("'x; reboot'", "")
