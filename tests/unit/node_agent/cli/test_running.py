"""What a signal means: who ends, who stays, and what the service manager is told by the exit code."""

import pytest

from node_agent.cli.running import Stop


async def test_a_first_signal_drains_and_a_second_hurries() -> None:
    stop = Stop()
    stop.signalled()
    assert (stop.wanted.is_set(), stop.hurried.is_set(), stop.leaves_engines, stop.exit_code) == (True, False, False, 0)
    stop.signalled()
    assert stop.hurried.is_set()


@pytest.mark.parametrize(("replaced", "code"), [(False, 0), (True, 75)])
async def test_leaving_keeps_the_engines_whatever_follows(*, replaced: bool, code: int) -> None:
    stop = Stop()
    stop.leave(replaced=replaced)
    stop.signalled()
    stop.signalled()
    assert (stop.wanted.is_set(), stop.hurried.is_set(), stop.leaves_engines, stop.exit_code) == (
        True,
        False,
        True,
        code,
    )


async def test_a_drain_that_has_begun_is_not_taken_back() -> None:
    stop = Stop()
    stop.signalled()
    stop.leave(replaced=True)
    assert (stop.leaves_engines, stop.exit_code) == (False, 0)


async def test_a_crash_is_told_although_the_agent_was_leaving() -> None:
    stop = Stop()
    stop.leave(replaced=True)
    stop.crash("part", RuntimeError("x"))
    assert stop.exit_code == 1
