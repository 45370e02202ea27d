"""The session machine by example; `test_machine_properties` has what holds for every history."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from node_agent.session.backoff import BackoffPolicy
from node_agent.session.commands import Command, Hello, Outcome, Report, StartAction, Welcome
from node_agent.session.facts import Device, EngineSpec, NodeEvent
from node_agent.session.hardware import DeviceHealth, MemoryLedger
from node_agent.session.machine import EVENTS_WAITING_MAX, Phase, SessionPolicy, SessionState, advance
from node_agent.session.protocol import (
    CommandFinished,
    CommandReceived,
    Effect,
    Emit,
    Event,
    EventRaised,
    LinkDown,
    LinkFailure,
    LinkUp,
    Reconnect,
    RunStart,
    SaveEpoch,
    Send,
    TickElapsed,
    WelcomeReceived,
)
from node_agent.session.values import Severity

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
POLICY = SessionPolicy("0.1.0", "boot", "linux")
WELCOME = Welcome(1, "0.1.0", leader_epoch=3, report_interval_seconds=2.0, lease_seconds=60.0)
CPU = Device("cpu:0", "a CPU", "cpu")
GPU = Device("cuda:0", "a GPU", "cuda")


def play(state: SessionState, *events: Event, now: datetime = NOW) -> tuple[SessionState, list[Effect]]:
    effects: list[Effect] = []
    for event in events:
        state, more = advance(state, event, now, POLICY)
        effects += more
    return state, effects


def established() -> SessionState:
    return play(SessionState(), LinkUp((), (CPU,)), WelcomeReceived(WELCOME, 0.0))[0]


def start(command_id: str, epoch: int = 3) -> CommandReceived:
    spec = EngineSpec("a@n", 1, "tiny", "/models/tiny")
    return CommandReceived(Command(command_id, epoch, 1, "a@n", StartAction(spec)))


def note(number: int = 0) -> NodeEvent:
    return NodeEvent("odd", f"number {number}", Severity.WARNING, NOW)


def sent(effects: list[Effect]) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


def test_hello_comes_first_and_tells_the_epoch() -> None:
    state, effects = play(SessionState(epoch_seen=8), LinkUp((), (CPU,)))
    [hello] = sent(effects)
    assert isinstance(hello, Hello)
    assert (hello.leader_epoch_seen, hello.devices, hello.boot_id) == (8, (CPU,), "boot")
    assert state.phase is Phase.GREETING
    assert play(state, TickElapsed((), (CPU,)))[1] == []


def test_reports_count_from_one_and_tell_devices_only_when_they_changed() -> None:
    ticks = (TickElapsed((), (CPU,)), TickElapsed((), (GPU,)), TickElapsed((), (GPU,)))
    state, effects = play(established(), *ticks)
    reports = [message for message in sent(effects) if isinstance(message, Report)]
    assert [(report.sequence, report.devices) for report in reports] == [(1, ()), (2, (GPU,)), (3, ())]
    state, _ = play(state, LinkDown(LinkFailure.LOST, "gone", 0.5), LinkUp((), ()), WelcomeReceived(WELCOME, 0.0))
    _, effects = play(state, TickElapsed((), ()))
    assert [message.sequence for message in sent(effects) if isinstance(message, Report)] == [1]


def test_each_reading_of_the_hardware_is_told_once_and_again_in_the_next_session() -> None:
    def tick(second: int) -> TickElapsed:
        at = NOW + timedelta(seconds=second)
        return TickElapsed((), (CPU,), (DeviceHealth("cpu:0", at),), (MemoryLedger("cpu:0", at),))

    state, effects = play(established(), tick(0), tick(0), tick(10))
    reports = [message for message in sent(effects) if isinstance(message, Report)]
    assert [(len(report.health), len(report.memory)) for report in reports] == [(1, 1), (0, 0), (1, 1)]
    back = (LinkDown(LinkFailure.LOST, "gone", 0.5), LinkUp((), (CPU,)), WelcomeReceived(WELCOME, 0.0), tick(10))
    _, effects = play(state, *back)
    [report] = [message for message in sent(effects) if isinstance(message, Report)]
    assert [report.health[0].device_id, report.memory[0].device_id] == ["cpu:0", "cpu:0"]


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_nonsensical_report_interval_is_not_obeyed(nonsense: float) -> None:
    welcome = replace(WELCOME, report_interval_seconds=nonsense)
    state, _ = play(SessionState(), LinkUp((), ()), WelcomeReceived(welcome, 0.0))
    assert state.report_interval_seconds == POLICY.report_interval_seconds
    state, _ = play(SessionState(), LinkUp((), ()), WelcomeReceived(replace(welcome, report_interval_seconds=1e9), 0.0))
    assert state.report_interval_seconds == 60.0


def test_a_new_epoch_is_saved_before_its_command_runs() -> None:
    state, effects = play(established(), start("c1", epoch=5))
    kinds = [type(effect) for effect in effects]
    assert kinds.index(SaveEpoch) < kinds.index(RunStart)
    assert state.epoch_seen == 5
    _, effects = play(state, start("c2", epoch=4))
    assert not [effect for effect in effects if isinstance(effect, RunStart | SaveEpoch)]


def test_back_off_grows_with_full_jitter_up_to_the_cap_and_starts_anew_after_a_report() -> None:
    down = LinkDown(LinkFailure.UNREACHABLE, "nothing listens", draw=0.5)
    state, effects = play(established(), *[down] * 6)
    waits = [effect.after_seconds for effect in effects if isinstance(effect, Reconnect)]
    assert waits == [0.125, 0.25, 0.5, 1.0, 1.0, 1.0]
    state, _ = play(state, LinkUp((), ()), WelcomeReceived(WELCOME, 0.0))
    assert play(state, down)[1][-1] == Reconnect(1.0)  # a welcome alone proves nothing
    state, _ = play(state, TickElapsed((), ()))
    assert play(state, down)[1][-1] == Reconnect(0.125)


def test_what_only_a_person_can_mend_is_retried_slowly() -> None:
    for failure in (LinkFailure.UNTRUSTED, LinkFailure.REFUSED):
        _, effects = play(SessionState(), LinkDown(failure, "no", draw=0.0))
        assert effects[-1] == Reconnect(15.0)
    assert BackoffPolicy().slow_delay_seconds(0.999) < 30.0


def test_a_long_outage_is_one_line_and_its_end_another() -> None:
    down = LinkDown(LinkFailure.UNREACHABLE, "nothing listens", 0.1)
    state, effects = play(established(), *[down] * 20)
    assert [effect.event.kind for effect in effects if isinstance(effect, Emit)] == ["link_unreachable"]
    later = NOW + timedelta(seconds=90)
    _, effects = play(state, LinkUp((), ()), WelcomeReceived(WELCOME, 0.0), now=later)
    [restored] = [message for message in sent(effects) if isinstance(message, NodeEvent)]
    assert restored.message == "was cut off for 90 s: nothing listens"


def test_another_protocol_is_said_once_and_not_reported_to() -> None:
    newer = WelcomeReceived(replace(WELCOME, protocol_version=9, control_plane_version="9.0"), 0.0)
    down = LinkDown(LinkFailure.LOST, "closed by this agent", 0.0)
    state, effects = play(SessionState(), *(LinkUp((), ()), newer, down) * 3)
    said = [effect.event for effect in effects if isinstance(effect, Emit)]
    assert [event.kind for event in said] == ["protocol_incompatible"]
    assert "upgrade stoker-agent on this node" in said[0].message
    assert all(effect.after_seconds >= 15.0 for effect in effects if isinstance(effect, Reconnect))
    _, effects = play(state, LinkUp((), ()), WelcomeReceived(replace(WELCOME, protocol_version=0), 0.0))
    assert "upgrade the control plane" in next(effect.event for effect in effects if isinstance(effect, Emit)).message


def test_events_wait_for_a_link_and_the_oldest_are_dropped_aloud() -> None:
    raised = [EventRaised(note(number)) for number in range(EVENTS_WAITING_MAX + 3)]
    state, effects = play(SessionState(), *raised)
    assert sent(effects) == []
    _, effects = play(state, LinkUp((), ()), WelcomeReceived(WELCOME, 0.0))
    told = [message.message for message in sent(effects) if isinstance(message, NodeEvent)]
    assert told[0].startswith("3 events of this node were dropped")
    assert (told[1], len(told)) == ("number 3", EVENTS_WAITING_MAX + 1)


def test_an_outcome_of_a_cut_off_node_is_told_on_return() -> None:
    state, _ = play(established(), start("c1"), LinkDown(LinkFailure.LOST, "gone", 0.0))
    state, effects = play(state, CommandFinished("c1", succeeded=True, message="ok"))
    assert sent(effects) == []
    _, effects = play(state, LinkUp((), ()), WelcomeReceived(WELCOME, 0.0))
    assert [message.command_id for message in sent(effects) if isinstance(message, Outcome)] == ["c1"]


def test_garbage_is_ignored_aloud() -> None:
    _, effects = play(established(), start(""))
    assert [effect.event.kind for effect in effects if isinstance(effect, Emit)] == ["command_unreadable"]
    assert play(established(), CommandFinished("never-heard-of", succeeded=True, message=""))[1] == []
    assert play(SessionState(), WelcomeReceived(WELCOME, 0.0)) == (SessionState(), [])
