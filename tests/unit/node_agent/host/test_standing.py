"""The line that `systemctl status` shows, and the file that other commands read."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node_agent.host.standing import Standing, count_states, line, load, save, standing_path
from node_agent.session.facts import EngineState, EngineStatus

AT = datetime(2026, 1, 1, tzinfo=UTC)
STANDING = Standing(
    pid=7,
    version="1.2",
    connection="connected to plane:7443",
    connected=True,
    watched=True,
    engines={"ready": 2, "backing_off": 1},
    clock_error_seconds=-0.25,
    clock_told_at=AT,
)


def test_the_line_says_who_we_are_connected_to_and_how_engines_are() -> None:
    assert line(STANDING) == "connected to plane:7443; engines: 2 ready, 1 backing off"
    assert line(replace(STANDING, engines={})) == "connected to plane:7443; engines: none"


def test_states_are_counted_ready_first() -> None:
    states = (EngineState.FAILED, EngineState.READY, EngineState.STARTING, EngineState.READY)
    engines = [EngineStatus(str(n), 1, "", "m", state, AT) for n, state in enumerate(states)]
    assert list(count_states(engines).items()) == [("ready", 2), ("starting", 1), ("failed", 1)]


def test_every_state_is_counted() -> None:
    engines = [EngineStatus(state.value, 1, "", "m", state, AT) for state in EngineState]
    assert sum(count_states(engines).values()) == len(EngineState)


@pytest.mark.parametrize("standing", [STANDING, replace(STANDING, clock_error_seconds=None, clock_told_at=None)])
def test_what_is_saved_is_read_again(tmp_path: Path, standing: Standing) -> None:
    save(tmp_path, standing)
    assert load(tmp_path) == standing


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"pid": 1}', '{"pid": null, "engines": 3}'])
def test_what_cannot_be_read_is_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        standing_path(tmp_path).write_text(content)
    assert load(tmp_path) is None
