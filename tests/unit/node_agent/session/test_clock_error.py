"""A wrong clock is told when the control plane's is heard: once, until it was right in between."""

from datetime import UTC, datetime, timedelta

import pytest

from node_agent.session.commands import Welcome
from node_agent.session.facts import NodeEvent
from node_agent.session.machine import SessionPolicy, SessionState, advance
from node_agent.session.protocol import LinkDown, LinkFailure, LinkUp, Send, WelcomeReceived

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
POLICY = SessionPolicy("0.1.0", "boot", "linux")


def connect(state: SessionState, error_seconds: float | None) -> tuple[SessionState, list[str]]:
    """A new session, and what it told of the clock."""
    theirs = None if error_seconds is None else NOW - timedelta(seconds=error_seconds)
    welcome = Welcome(1, "0.1.0", leader_epoch=1, report_interval_seconds=1.0, lease_seconds=60.0, now=theirs)
    said: list[str] = []
    for step in (LinkUp((), ()), WelcomeReceived(welcome, 0.0), LinkDown(LinkFailure.LOST, "gone", 0.0)):
        state, effects = advance(state, step, NOW, POLICY)
        told = [effect.message for effect in effects if isinstance(effect, Send)]
        events = [message for message in told if isinstance(message, NodeEvent)]
        said += [f"{event.message} {event.action}" for event in events if event.kind == "clock_error"]
    return state, said


@pytest.mark.parametrize(("error", "words"), [(90.0, "90.0 s ahead of"), (-2.5, "2.5 s behind")])
def test_it_says_by_how_much_and_what_to_do(error: float, words: str) -> None:
    [said] = connect(SessionState(), error)[1]
    assert words in said
    assert "run NTP" in said


@pytest.mark.parametrize("error", [None, 0.0, 1.9, -1.9])
def test_a_good_clock_and_an_untold_one_are_no_news(error: float | None) -> None:
    assert connect(SessionState(), error)[1] == []


def test_a_link_that_flaps_does_not_repeat_it() -> None:
    state, first = connect(SessionState(), 5.0)
    state, second = connect(state, 5.0)
    state, mended = connect(state, 0.0)
    _, again = connect(state, 5.0)
    assert [len(said) for said in (first, second, mended, again)] == [1, 0, 0, 1]
