"""The commands that are owed, on disk: whole, private, and out of the way when they cannot be read."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node_agent.link.owed_file import OwedFile
from node_agent.session.commands import (
    Action,
    Command,
    CommandStatus,
    LoadAdapterAction,
    Outcome,
    OwedCommand,
    ProbeAction,
    ReportIntervalAction,
    StartAction,
    StopAction,
    UnknownAction,
    UnloadAdapterAction,
)
from node_agent.session.facts import EngineSpec

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ACTIONS: tuple[Action, ...] = (
    StartAction(EngineSpec("a@n", 2, "tiny", "/m", ("--seed", "1"), ("cuda:0",))),
    StopAction(5.0, forget=True),
    LoadAdapterAction("law", "/lora/law"),
    UnloadAdapterAction("law"),
    ProbeAction(force=True),
    ReportIntervalAction(0.5),
    UnknownAction(),
)


def test_every_action_comes_back_as_it_was(tmp_path: Path) -> None:
    commands = [Command(f"c{number}", 3, 2, "a@n", action) for number, action in enumerate(ACTIONS)]
    owed = (
        *(OwedCommand(command) for command in commands),
        OwedCommand(Command("done", 3, 2, "b@n", ACTIONS[1]), Outcome("done", CommandStatus.REFUSED, "no: é", AT)),
    )
    file = OwedFile(tmp_path / "state")
    assert file.load() == ()
    file.save(owed)
    assert OwedFile(tmp_path / "state").load() == owed
    [saved] = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 9, "commands": []}', '{"version": 1, "commands": [{"command_id": "c"}]}', "[" * 9999],
)
def test_a_broken_file_is_moved_aside_with_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "commands.json").write_text(text)
    with pytest.raises(ValueError, match=r"cannot be read .*commands\.unreadable"):
        OwedFile(tmp_path).load()
    assert [path.name for path in tmp_path.iterdir()] == ["commands.unreadable"]
    assert OwedFile(tmp_path).load() == ()
