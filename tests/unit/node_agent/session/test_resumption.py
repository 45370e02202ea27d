"""What an agent owes survives its restart: nothing is forgotten, nothing begun twice without need, each outcome once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from node_agent.session.commands import (
    Command,
    CommandStatus,
    LoadAdapterAction,
    Outcome,
    OwedCommand,
    ProbeAction,
    ReportIntervalAction,
    StartAction,
    StopAction,
    Welcome,
)
from node_agent.session.facts import EngineSpec, EngineState, EngineStatus
from node_agent.session.machine import SessionPolicy, SessionState, advance
from node_agent.session.protocol import (
    CommandFinished,
    CommandReceived,
    Effect,
    Event,
    LinkUp,
    OutcomeAcknowledged,
    Resumed,
    RunLoadAdapter,
    RunProbe,
    RunStart,
    RunStop,
    SaveOwed,
    Send,
    WelcomeReceived,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
POLICY = SessionPolicy("0.1.0", "boot")
WELCOME = WelcomeReceived(Welcome(1, "0.1.0", 1, 2.0, 60.0), 0.0)
START = Command("c1", 1, 2, "a@n", StartAction(EngineSpec("a@n", 2, "tiny", "/m", ("--seed", "1"))))
STOP = Command("c2", 1, 2, "a@n", StopAction(5.0, forget=True))


def play(state: SessionState, *events: Event, now: datetime = NOW) -> tuple[SessionState, list[Effect]]:
    effects: list[Effect] = []
    for event in events:
        state, more = advance(state, event, now, POLICY)
        effects += more
    return state, effects


def linked() -> SessionState:
    return play(SessionState(), LinkUp((), ()), WELCOME)[0]


def kept(effects: list[Effect]) -> tuple[OwedCommand, ...]:
    """What is on disk after these effects."""
    return next((effect.owed for effect in reversed(effects) if isinstance(effect, SaveOwed)), ())


def begun(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, RunStart | RunStop | RunLoadAdapter | RunProbe)]


def told(effects: list[Effect]) -> list[Outcome]:
    said = [effect.message for effect in effects if isinstance(effect, Send)]
    return [message for message in said if isinstance(message, Outcome)]


def running(generation: int, state: EngineState = EngineState.READY) -> EngineStatus:
    return EngineStatus("a@n", generation, "i", "tiny", state, NOW)


def test_it_is_on_disk_before_it_is_begun_and_before_its_outcome_is_told() -> None:
    state, effects = play(linked(), CommandReceived(START))
    saved, ran = effects.index(SaveOwed((OwedCommand(START),))), effects.index(begun(effects)[0])
    assert saved < ran
    _, effects = play(state, CommandFinished("c1", succeeded=True, message="ok"), now=LATER)
    assert isinstance(effects[0], SaveOwed)
    assert told(effects)[0] == effects[0].owed[0].outcome


def test_what_was_acknowledged_is_no_longer_kept() -> None:
    state, _ = play(linked(), CommandReceived(START), CommandFinished("c1", succeeded=True, message="ok"))
    state, effects = play(state, OutcomeAcknowledged("c1"), OutcomeAcknowledged("c1"))
    assert effects == [SaveOwed(())]


def test_an_interrupted_start_is_carried_on_or_judged_by_what_runs() -> None:
    owed = (OwedCommand(START),)
    assert [type(effect) for effect in begun(play(SessionState(), Resumed(owed, ()))[1])] == [RunStart]
    assert len(begun(play(SessionState(), Resumed(owed, (running(1),)))[1])) == 1
    state, effects = play(SessionState(), Resumed(owed, (running(2, EngineState.STARTING),)))
    assert begun(effects) == []
    [outcome] = told(play(state, LinkUp((), ()), WELCOME)[1])
    assert (outcome.status, "is starting" in outcome.message) == (CommandStatus.SUCCEEDED, True)


def test_an_interrupted_stop_of_an_engine_that_is_gone_has_succeeded() -> None:
    state, effects = play(SessionState(), Resumed((OwedCommand(STOP),), ()))
    assert begun(effects) == []
    assert [outcome.status for outcome in told(play(state, LinkUp((), ()), WELCOME)[1])] == [CommandStatus.SUCCEEDED]
    assert len(begun(play(SessionState(), Resumed((OwedCommand(STOP),), (running(2),)))[1])) == 1


def test_one_engine_goes_on_with_one_thing_at_a_time_in_order() -> None:
    adapter = Command("c3", 1, 2, "a@n", LoadAdapterAction("law", "/lora/law"))
    state, effects = play(SessionState(), Resumed((OwedCommand(START), OwedCommand(adapter)), ()))
    assert [type(effect) for effect in begun(effects)] == [RunStart]
    _, effects = play(state, CommandFinished("c1", succeeded=True, message=""))
    assert begun(effects) == [RunLoadAdapter("c3", "a@n", "law", "/lora/law")]


def test_an_outcome_is_told_again_with_its_own_moment_until_it_is_acknowledged() -> None:
    outcome = Outcome("c1", CommandStatus.FAILED, "no", NOW)
    state, _ = play(SessionState(), Resumed((OwedCommand(START, outcome),), ()), now=LATER)
    state, effects = play(state, LinkUp((), ()), WELCOME, now=LATER)
    assert told(effects) == [outcome]
    _, effects = play(state, OutcomeAcknowledged("c1"), now=LATER)
    assert kept([*effects]) == ()


def test_a_start_that_succeeded_and_whose_engine_died_with_the_machine_is_begun_again() -> None:
    outcome = Outcome("c1", CommandStatus.SUCCEEDED, "started", NOW)
    owed = (OwedCommand(START, outcome),)
    assert len(begun(play(SessionState(), Resumed(owed, ()))[1])) == 1
    assert begun(play(SessionState(), Resumed(owed, (running(2),)))[1]) == []


def test_what_cannot_be_carried_on_has_failed_and_says_what_to_do() -> None:
    probe = Command("c0", 1, 0, "", ProbeAction(force=False))
    interval = Command("c1", 1, 0, "", ReportIntervalAction(5.0))
    owed = (OwedCommand(probe), OwedCommand(interval))
    state, effects = play(SessionState(), Resumed(owed, ()))
    assert begun(effects) == []
    outcomes = told(play(state, LinkUp((), ()), WELCOME)[1])
    assert {outcome.status for outcome in outcomes} == {CommandStatus.FAILED}
    assert all("ask for it again" in outcome.message for outcome in outcomes)


def test_a_report_interval_lasts_until_the_next_welcome_and_garbage_is_refused() -> None:
    state, effects = play(linked(), CommandReceived(Command("c1", 1, 0, "", ReportIntervalAction(0.5))))
    assert state.report_interval_seconds == 0.5
    assert [outcome.status for outcome in told(effects)] == [CommandStatus.ACCEPTED, CommandStatus.SUCCEEDED]
    for seconds in (0.0, 0.19, 61.0, float("nan"), float("inf")):
        refused, effects = play(state, CommandReceived(Command("c2", 1, 0, "", ReportIntervalAction(seconds))))
        assert refused.report_interval_seconds == 0.5
        assert told(effects)[-1].status is CommandStatus.REFUSED
    assert play(state, LinkUp((), ()), WELCOME)[0].report_interval_seconds == 2.0


def test_a_probe_does_not_wait_for_an_engine_nor_an_engine_for_it() -> None:
    state, _ = play(linked(), CommandReceived(START))
    state, effects = play(state, CommandReceived(Command("p1", 1, 0, "", ProbeAction(force=True))))
    assert begun(effects) == [RunProbe("p1", True)]
    _, effects = play(state, CommandReceived(replace(STOP, engine_id="b@n")))
    assert len(begun(effects)) == 1


_events = st.sampled_from(
    [
        CommandReceived(START),
        CommandReceived(STOP),
        CommandReceived(replace(START, command_id="c4", engine_id="b@n")),
        CommandFinished("c1", succeeded=True, message=""),
        CommandFinished("c2", succeeded=True, message=""),
        CommandFinished("c4", succeeded=False, message="no"),
        OutcomeAcknowledged("c1"),
        OutcomeAcknowledged("c2"),
        OutcomeAcknowledged("c4"),
    ]
)


@given(st.lists(_events, max_size=20))
def test_the_disk_always_holds_what_the_memory_owes(events: list[Event]) -> None:
    """Whenever the agent is killed, the next one knows exactly what this one had not been relieved of."""
    state = linked()
    disk: tuple[OwedCommand, ...] = ()
    for event in events:
        state, effects = play(state, event)
        told_before_saved = next((e for e in effects if isinstance(e, SaveOwed | Send)), None)
        disk = next((e.owed for e in effects if isinstance(e, SaveOwed)), disk)
        if any(outcome.status is not CommandStatus.ACCEPTED for outcome in told(effects)) and kept(effects):
            assert isinstance(told_before_saved, SaveOwed)
    unsettled = {key: entry for key, entry in state.ledger.entries.items() if not entry.settled}
    assert {item.command.command_id: item.outcome for item in disk} == {k: e.outcome for k, e in unsettled.items()}
