"""Who is connected, and which command goes down which session how often."""

from controlplane.policies.placement.reconcile import StartCommand
from controlplane.runtime.agent_sessions import QUEUE_MAX, AgentSessions, CommandStatus, Outcome
from tests.support.fleet import placed

START = StartCommand("llama@gcp-1/1/start", "gcp-1", placed())
SUCCEEDED = Outcome(START.command_id, CommandStatus.SUCCEEDED, "")


def test_a_command_is_sent_once_a_session() -> None:
    sessions = AgentSessions()
    assert not sessions.send(START), "nobody is there"
    session = sessions.open("gcp-1")
    assert sessions.send(START)
    assert not sessions.send(START)
    assert session.queue.qsize() == 1
    again = sessions.open("gcp-1")
    assert sessions.send(START), "it may have been lost with the old session"
    assert (session.queue.qsize(), again.queue.qsize()) == (1, 1)


def test_a_command_that_ended_is_not_sent_again() -> None:
    sessions = AgentSessions()
    sessions.open("gcp-1")
    sessions.greeted("gcp-1", "b1")
    sessions.send(START)
    assert sessions.ended("gcp-1", SUCCEEDED)
    assert not sessions.ended("gcp-1", SUCCEEDED), "agents repeat themselves"
    sessions.open("gcp-1")
    sessions.greeted("gcp-1", "b1")
    assert not sessions.send(START)
    assert sessions.outcome("gcp-1", START.command_id) == SUCCEEDED


def test_an_agent_that_started_anew_remembers_nothing_and_is_told_again() -> None:
    sessions = AgentSessions()
    sessions.open("gcp-1")
    sessions.greeted("gcp-1", "b1")
    sessions.ended("gcp-1", SUCCEEDED)
    sessions.open("gcp-1")
    sessions.greeted("gcp-1", "b2")
    assert sessions.outcome("gcp-1", START.command_id) is None
    assert sessions.send(START)


def test_a_newer_session_replaces_and_only_the_current_one_disconnects() -> None:
    sessions = AgentSessions()
    old = sessions.open("gcp-1")
    new = sessions.open("gcp-1")
    assert old.replaced.is_set()
    assert not new.replaced.is_set()
    assert not sessions.close(old)
    assert sessions.get("gcp-1") is new
    assert sessions.close(new)
    assert sessions.get("gcp-1") is None
    assert not sessions.close(new)


def test_a_forgotten_nodes_session_ends_and_its_outcomes_with_it() -> None:
    sessions = AgentSessions()
    session = sessions.open("gcp-1")
    sessions.ended("gcp-1", SUCCEEDED)
    sessions.forget("gcp-1")
    assert session.replaced.is_set()
    assert sessions.outcome("gcp-1", START.command_id) is None
    sessions.forget("nobody")


def test_what_is_kept_of_a_node_is_bounded() -> None:
    sessions = AgentSessions()
    for index in range(50):
        sessions.ended("gcp-1", Outcome(f"c{index}", CommandStatus.FAILED, ""), outcomes_max=10)
    assert sessions.outcome("gcp-1", "c39") is None
    assert sessions.outcome("gcp-1", "c40") is not None
    session = sessions.open("gcp-1")
    for index in range(QUEUE_MAX + 5):
        sessions.send(StartCommand(f"c-{index}", "gcp-1", placed()))
    assert session.queue.full()
    session.acknowledge(SUCCEEDED)  # dropped: the agent repeats it
    assert session.queue.qsize() == QUEUE_MAX
    session.queue.get_nowait()
    assert sessions.send(StartCommand(f"c-{QUEUE_MAX}", "gcp-1", placed())), "what did not fit goes later"


def test_only_accepting_is_not_an_end() -> None:
    assert [status for status in CommandStatus if not status.final] == [CommandStatus.ACCEPTED]
