"""Carrying plans out: commands go down the sessions, placements that are gone are forgotten, lives do not mix."""

import asyncio

import pytest

from controlplane.fleet.desired import DesiredState
from controlplane.fleet.observed import EngineReport, EngineState, Severity
from controlplane.policies.placement.reconcile import StartCommand, StopCommand
from controlplane.runtime.agent_sessions import AgentSession, CommandStatus, Outcome
from controlplane.services.place_model import PlaceOrder
from controlplane.services.stop_placement import Target
from tests.fakes.control_plane import eventually
from tests.support.fleet import placed, reported
from tests.support.plane import ANN, Plane

ORDER = PlaceOrder("llama", "gcp-1", "/models/llama")
LLAMA = "llama@gcp-1"


def sent(session: AgentSession) -> list[StartCommand | StopCommand]:
    found = []
    while not session.queue.empty():
        item = session.queue.get_nowait()
        if isinstance(item, StartCommand | StopCommand):
            found.append(item)
    return found


def beat(plane: Plane, session: AgentSession, *engines: EngineReport) -> None:
    """A second later the agent reports."""
    plane.clock.advance(1)
    plane.report(session, *engines)


def ended(plane: Plane, session: AgentSession, command: StartCommand | StopCommand) -> None:
    plane.ingest.command_ended(session, Outcome(command.command_id, CommandStatus.SUCCEEDED, ""))


async def forgotten(plane: Plane, placement_id: str = LLAMA) -> None:
    """Until desired state has forgotten it, which happens in its own time."""
    await eventually(lambda: placement_id not in plane.wanted().placements, f"{placement_id} is forgotten")


async def test_placing_sends_a_start_to_who_is_connected_and_to_who_comes_later(fleet: Plane) -> None:
    session = fleet.connect("gcp-1")
    await fleet.place(ORDER, ANN, dry_run=False)
    [start] = sent(session)
    assert isinstance(start, StartCommand)
    assert start.placement.placement_id == LLAMA
    assert [event.message for event in fleet.events.recent() if event.kind == "command_sent"] == [
        f"start of {LLAMA} sent to gcp-1"
    ]
    beat(fleet, session)
    assert sent(session) == [], "once in a session"
    later = fleet.connect("gcp-1")
    assert sent(later) == [start]


async def test_a_command_that_ended_is_not_sent_to_the_same_agent_again(fleet: Plane) -> None:
    session = fleet.connect("gcp-1")
    await fleet.place(ORDER, ANN, dry_run=False)
    [start] = sent(session)
    fleet.ingest.command_ended(session, Outcome(start.command_id, CommandStatus.REFUSED, "no such device"))
    assert fleet.kinds().count("command_refused") == 1
    again = fleet.connect("gcp-1")
    assert sent(again) == []
    reborn = fleet.connect("gcp-1", boot_id="b2")
    assert sent(reborn) == [start]


async def test_a_whole_life(fleet: Plane) -> None:
    session = fleet.connect("gcp-1")
    await fleet.place(ORDER, ANN, dry_run=False)
    [start] = sent(session)
    ended(fleet, session, start)
    beat(fleet, session, reported())
    assert sent(session) == []
    await fleet.stop.drain(Target(LLAMA), ANN, dry_run=False)
    [drain] = sent(session)
    assert isinstance(drain, StopCommand)
    assert (drain.generation, drain.forget) == (2, False)
    ended(fleet, session, drain)
    beat(fleet, session, reported(state=EngineState.STOPPED))
    assert sent(session) == []
    assert fleet.wanted().placements[LLAMA].desired is DesiredState.DRAINED
    await fleet.stop.resume(Target(LLAMA), ANN, dry_run=False)
    [resume] = sent(session)
    assert isinstance(resume, StartCommand)
    assert resume.placement.generation == 3
    ended(fleet, session, resume)
    beat(fleet, session, reported(generation=3))
    await fleet.stop.remove(Target(LLAMA), ANN, dry_run=False)
    [remove] = sent(session)
    assert isinstance(remove, StopCommand)
    assert remove.forget
    beat(fleet, session)
    ended(fleet, session, remove)
    beat(fleet, session)
    await forgotten(fleet)
    assert not fleet.wanted().deployments
    assert await fleet.database.run(lambda uow: uow.placements.all()) == []


async def test_the_same_model_placed_again_after_it_was_removed_is_started_again(fleet: Plane) -> None:
    session = fleet.connect("gcp-1")
    ids = []
    for _ in range(3):
        fleet.clock.advance(1)
        await fleet.place(ORDER, ANN, dry_run=False)
        [start] = sent(session)
        assert isinstance(start, StartCommand)
        ids.append(start.command_id)
        ended(fleet, session, start)
        beat(fleet, session, reported())
        await fleet.stop.remove(Target(LLAMA), ANN, dry_run=False)
        [remove] = sent(session)
        ids.append(remove.command_id)
        ended(fleet, session, remove)
        beat(fleet, session)
        await forgotten(fleet)
    assert len(set(ids)) == 6, "an agent carries an id out once"


async def test_a_removal_that_overtakes_the_first_report_does_not_leave_an_engine_behind(fleet: Plane) -> None:
    session = fleet.connect("gcp-1")
    await fleet.place(ORDER, ANN, dry_run=False)
    [start] = sent(session)
    await fleet.stop.remove(Target(LLAMA), ANN, dry_run=False)
    [remove] = sent(session)
    assert isinstance(remove, StopCommand)
    beat(fleet, session)  # the agent has begun with the start; nothing shows yet
    assert LLAMA in fleet.wanted().placements
    ended(fleet, session, start)
    beat(fleet, session, reported(state=EngineState.STARTING))
    assert LLAMA in fleet.wanted().placements
    beat(fleet, session)
    ended(fleet, session, remove)
    beat(fleet, session)
    await forgotten(fleet)


async def test_a_placement_that_never_ran_is_forgotten_once_its_agent_has_agreed(fleet: Plane) -> None:
    await fleet.enrol(placements=(placed(LLAMA),))
    await fleet.stop.remove(Target(LLAMA), ANN, dry_run=False)
    fleet.store.apply_now()
    assert LLAMA in fleet.wanted().placements, "nobody has said that nothing runs"
    session = fleet.connect("gcp-1")
    [remove] = sent(session)
    ended(fleet, session, remove)
    beat(fleet, session)
    await forgotten(fleet)


@pytest.mark.parametrize("status", [CommandStatus.SUCCEEDED, CommandStatus.FAILED, CommandStatus.REFUSED])
async def test_outcomes_are_acknowledged_each_time_and_told_once(fleet: Plane, status: CommandStatus) -> None:
    session = fleet.connect("gcp-1")
    before = len(fleet.kinds())
    outcome = Outcome("llama@gcp-1/1/start", status, "a message")
    fleet.ingest.command_ended(session, Outcome(outcome.command_id, CommandStatus.ACCEPTED, ""))
    assert session.queue.empty()
    for _ in range(3):
        fleet.ingest.command_ended(session, outcome)
    assert [session.queue.get_nowait() for _ in range(3)] == [outcome] * 3
    [event] = fleet.events.recent()[before:]
    assert (event.kind, event.engine_id, event.node) == (f"command_{status.value}", LLAMA, "gcp-1")
    assert event.severity is (Severity.INFO if status is CommandStatus.SUCCEEDED else Severity.ERROR)


async def test_with_the_database_away_forgetting_is_tried_again(fleet: Plane) -> None:
    await fleet.enrol(placements=(placed(LLAMA),))
    session = fleet.connect("gcp-1")
    await fleet.stop.remove(Target(LLAMA), ANN, dry_run=False)
    for command in sent(session):
        ended(fleet, session, command)
    await fleet.database.close()
    beat(fleet, session)

    def trying() -> bool:
        return any(task.get_name() == "forget placements" for task in asyncio.all_tasks())

    assert trying()
    await eventually(lambda: not trying(), "the attempt ends")
    assert LLAMA in fleet.wanted().placements
    beat(fleet, session)
    assert trying()
