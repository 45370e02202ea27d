"""Where sockets lie: short enough, found again, and nobody else's."""

import os
from pathlib import Path

import pytest

from node_agent.errors import AgentError
from node_agent.inside import sockets

LONG = "x" * 200


@pytest.mark.parametrize("state_dir", [Path("/s"), Path("/var/lib/stoker-agent"), Path("/var/lib") / LONG])
def test_every_socket_fits_wherever_the_state_is(state_dir: Path) -> None:
    socket_dir = sockets.default_socket_dir(state_dir)
    assert socket_dir == sockets.default_socket_dir(state_dir), "a restarted agent finds the same"
    found = sockets.sockets_of(socket_dir, "0123456789abcdef" * 2)
    for path in (found.plugin, found.events, found.replay):
        assert len(os.fsencode(f"{path}_dp999")) < 108


def test_states_of_two_agents_do_not_share_a_folder() -> None:
    first, second = (sockets.default_socket_dir(Path("/var/lib") / LONG / name) for name in "ab")
    assert first != second


def test_each_instance_has_a_folder_of_its_own(tmp_path: Path) -> None:
    assert sockets.sockets_of(tmp_path, "a").folder != sockets.sockets_of(tmp_path, "b").folder


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    mine = Path(sockets.default_socket_dir(tmp_path / LONG)).parent / f"stoker-test-{os.getpid()}"
    try:
        sockets.make_socket_dir(mine)
        assert mine.stat().st_mode & 0o777 == 0o700
        mine.chmod(0o755)
        with pytest.raises(AgentError, match="0700"):
            sockets.make_socket_dir(mine)
    finally:
        mine.rmdir()


def test_a_folder_that_is_too_long_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"engines\.socket_dir"):
        sockets.make_socket_dir(tmp_path / LONG)
