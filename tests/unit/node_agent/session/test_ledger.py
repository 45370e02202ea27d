"""The ledger of commands by example: once, in order, fenced, remembered."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from node_agent.session import ledger as commands
from node_agent.session.commands import Action, Command, CommandStatus, Outcome, StartAction, StopAction, UnknownAction
from node_agent.session.facts import EngineSpec
from node_agent.session.fences import COMMANDS_WAITING_MAX
from node_agent.session.ledger import OUTCOMES_REMEMBERED_MAX, Ledger
from node_agent.session.protocol import Effect, RunStart, RunStop, Send

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
STOP = StopAction(drain_seconds_max=5, forget=False)


def start(command_id: str, engine_id: str = "a@n", generation: int = 1, epoch: int = 1) -> Command:
    spec = EngineSpec(engine_id, generation, "tiny", "/models/tiny")
    return Command(command_id, epoch, generation, engine_id, StartAction(spec))


def other(command_id: str, action: Action, engine_id: str = "a@n", generation: int = 1) -> Command:
    return Command(command_id, 1, generation, engine_id, action)


def receive(ledger: Ledger, command: Command, epoch_seen: int = 0, linked: bool = True) -> tuple[Ledger, list[Effect]]:
    ledger, effects = commands.receive(
        ledger, command, agent_version="0.1.0", epoch_seen=epoch_seen, linked=linked, now=NOW
    )
    return ledger, list(effects)


def finish(ledger: Ledger, command_id: str, succeeded: bool = True) -> tuple[Ledger, list[Effect]]:
    ledger, effects = commands.finish(ledger, command_id, succeeded=succeeded, message="m", linked=True, now=NOW)
    return ledger, list(effects)


def told(effects: list[Effect]) -> list[tuple[str, CommandStatus]]:
    sent = [effect.message for effect in effects if isinstance(effect, Send)]
    return [(outcome.command_id, outcome.status) for outcome in sent if isinstance(outcome, Outcome)]


def begun(effects: list[Effect]) -> list[str]:
    return [effect.command_id for effect in effects if isinstance(effect, RunStart | RunStop)]


def refusal_of(command: Command, ledger: Ledger | None = None, epoch_seen: int = 0) -> str:
    after, effects = receive(ledger or Ledger(), command, epoch_seen)
    assert begun(effects) == []
    outcome = after.entries[command.command_id].outcome
    assert outcome is not None
    assert outcome.status is CommandStatus.REFUSED
    return outcome.message


def test_a_repeated_id_repeats_the_outcome_and_runs_nothing() -> None:
    ledger, effects = receive(Ledger(), start("c1"))
    assert (begun(effects), told(effects)) == (["c1"], [("c1", CommandStatus.ACCEPTED)])
    ledger, effects = receive(ledger, start("c1"))
    assert (begun(effects), told(effects)) == ([], [("c1", CommandStatus.ACCEPTED)])
    ledger, _ = finish(ledger, "c1", succeeded=False)
    ledger, effects = receive(ledger, start("c1", generation=9))
    assert (begun(effects), told(effects)) == ([], [("c1", CommandStatus.FAILED)])


def test_engines_do_not_wait_for_each_other_but_one_engine_does_one_thing_at_a_time() -> None:
    ledger, first = receive(Ledger(), start("c1", "a@n"))
    ledger, second = receive(ledger, start("c2", "b@n"))
    ledger, third = receive(ledger, other("c3", STOP, "a@n"))
    assert (begun(first), begun(second), begun(third)) == (["c1"], ["c2"], [])
    ledger, effects = finish(ledger, "c1")
    assert begun(effects) == ["c3"]
    ledger, effects = finish(ledger, "c3")
    assert (begun(effects), ledger.unfinished_count) == ([], 1)


def test_the_envelope_names_the_engine_whatever_the_spec_says() -> None:
    command = replace(start("c1", "a@n", 4), action=StartAction(EngineSpec("b@n", 1, "tiny", "/models/tiny")))
    _, effects = receive(Ledger(), command)
    [run] = [effect for effect in effects if isinstance(effect, RunStart)]
    assert (run.spec.engine_id, run.spec.generation) == ("a@n", 4)


def test_refusals_say_what_to_do() -> None:
    assert "another control plane leads now" in refusal_of(start("c"), epoch_seen=2)
    assert "this agent is too old: upgrade" in refusal_of(other("c", UnknownAction()))
    assert "engine id" in refusal_of(start("c", "../../etc"))
    assert "engine id" in refusal_of(start("c", ""))
    assert "no model and no source" in refusal_of(other("c", StartAction(EngineSpec("a@n", 1, "", ""))))
    assert "no sense" in refusal_of(other("c", StopAction(float("nan"), forget=False)))
    assert "no sense" in refusal_of(other("c", StopAction(-1.0, forget=False)))


def test_an_older_generation_is_refused_for_stops_too() -> None:
    ledger, _ = receive(Ledger(), start("c1", generation=3))
    assert "generation 3 is already there" in refusal_of(start("c2", generation=2), ledger)
    assert "generation 3 is already there" in refusal_of(other("c3", STOP, generation=2), ledger)


def test_a_waiting_command_that_was_overtaken_is_refused_when_its_turn_comes() -> None:
    ledger, _ = receive(Ledger(), start("c1", generation=1))
    ledger, _ = receive(ledger, start("c2", generation=2))
    ledger, _ = receive(ledger, start("c3", generation=3))
    _, effects = finish(ledger, "c1")
    assert begun(effects) == ["c3"]
    assert told(effects) == [("c1", CommandStatus.SUCCEEDED), ("c2", CommandStatus.REFUSED)]


def test_a_forgotten_placement_may_come_back_with_young_generations() -> None:
    ledger, _ = receive(Ledger(), start("c1", generation=5))
    ledger, _ = finish(ledger, "c1")
    ledger, _ = receive(ledger, other("c2", StopAction(0, forget=True), generation=5))
    ledger, _ = finish(ledger, "c2")
    _, effects = receive(ledger, start("c3", generation=1))
    assert begun(effects) == ["c3"]


@pytest.mark.parametrize("acknowledges_acceptance", [True, False])
def test_an_outcome_is_settled_by_its_own_acknowledgement(acknowledges_acceptance: bool) -> None:
    ledger, _ = receive(Ledger(), start("c1"))
    ledger, _ = finish(ledger, "c1")
    ledger = commands.acknowledge(ledger, "c1", NOW)
    assert not ledger.entries["c1"].settled  # it may have been the acknowledgement of ACCEPTED
    if acknowledges_acceptance:
        ledger = commands.acknowledge(ledger, "c1", NOW)
    else:
        assert not commands.observe(ledger, (), NOW + timedelta(seconds=29)).entries["c1"].settled
        ledger = commands.observe(ledger, (), NOW + timedelta(seconds=31))
    assert ledger.entries["c1"].settled
    assert commands.repeat_outcomes(commands.unlink(ledger))[1] == ()


def test_what_was_half_acknowledged_is_repeated_over_the_next_link() -> None:
    ledger, _ = receive(Ledger(), start("c1"))
    ledger, _ = finish(ledger, "c1")
    ledger = commands.unlink(commands.acknowledge(ledger, "c1", NOW))
    ledger, effects = commands.repeat_outcomes(ledger)
    assert told(list(effects)) == [("c1", CommandStatus.SUCCEEDED)]
    assert commands.acknowledge(ledger, "c1", NOW).entries["c1"].settled


def test_a_flood_is_refused_and_memory_is_bounded() -> None:
    ledger = Ledger()
    for number in range(COMMANDS_WAITING_MAX):
        ledger, _ = receive(ledger, start(f"c{number}"))
    assert "already waiting" in refusal_of(start("one-more"), ledger)
    for number in range(OUTCOMES_REMEMBERED_MAX + 50):
        ledger, _ = receive(ledger, start(f"refused{number}", generation=0))
    assert len(ledger.entries) == OUTCOMES_REMEMBERED_MAX
    assert "c0" in ledger.entries  # what still runs is never forgotten
