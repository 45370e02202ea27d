"""Every action of the console can be done by command: its twin exists and takes the very arguments that are shown."""

import shlex

import click
import pytest

from console.actions import ACTIONS, Action, Request

REQUEST = Request(
    placement_id="m@n-1",
    node="n-1",
    model="m",
    source="/x",
    device_ids=("cuda:0",),
    engine_args=("--a", "1"),
    reason="why",
)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)
def test_the_twin_is_a_command_that_takes_these_words(action: Action) -> None:
    root = pytest.importorskip("console.cli.root").stoker
    words = shlex.split(action.command_line(REQUEST))
    assert words.pop(0) == "stoker"
    command: click.Command = root
    while isinstance(command, click.Group):
        name = words.pop(0)
        assert name in command.commands, f"there is no {action.twin}"
        command = command.commands[name]
    command.make_context(command.name, words)  # raises when an option or an argument does not exist


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)
def test_the_twin_of_a_node_takes_these_words_too(action: Action) -> None:
    root = pytest.importorskip("console.cli.root").stoker
    if action.id in ("drain", "resume"):
        words = shlex.split(action.command_line(Request(node="n-1")))[2:]
        assert root.commands[action.id].make_context(action.id, words).params["node"] == "n-1"
