"""How a command ends: with a sentence for people, whatever the supervisor does."""

import pytest

from node_agent.errors import EngineSpecError
from node_agent.link.command_work import LOG_LINES_DEFAULT, LOG_LINES_MAX, CommandWork
from node_agent.session.commands import LogWanted
from node_agent.session.facts import EngineSpec
from node_agent.session.protocol import (
    CommandFinished,
    Run,
    RunLoadAdapter,
    RunProbe,
    RunReportInterval,
    RunStart,
    RunStop,
    RunUnloadAdapter,
)
from tests.fakes.engine_runner import FakeEngines

SPEC = EngineSpec("e1", 2, "llama", "/models/llama")


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (RunStart("c", SPEC), "e1 generation 2 is being started"),
        (RunStop("c", "e1", 5.0, forget=False), "e1 has stopped"),
        (RunLoadAdapter("c", "e1", "law", "/lora/law"), "e1 serves law from /lora/law"),
        (RunUnloadAdapter("c", "e1", "law"), "e1 no longer serves law"),
    ],
)
async def test_what_was_done_is_said(run: Run, words: str) -> None:
    ended = await CommandWork(FakeEngines()).carry_out(run)
    assert (ended.command_id, ended.succeeded) == ("c", True)
    assert words in ended.message


async def test_a_refusal_is_told_in_its_own_words() -> None:
    work = CommandWork(FakeEngines(fail_with=EngineSpecError("the engine argument --host is refused")))
    assert await work.carry_out(RunStart("c", SPEC)) == CommandFinished(
        "c", succeeded=False, message="the engine argument --host is refused"
    )


async def test_a_fault_of_the_agent_ends_the_command_and_not_the_session() -> None:
    work = CommandWork(FakeEngines(crash_on_statuses=True))
    for run in (RunProbe("c", force=False), RunReportInterval("c", 1.0)):
        ended = await work.carry_out(run)
        assert not ended.succeeded
        assert "the agent itself failed" in ended.message


async def test_nothing_is_started_while_the_agent_goes_down() -> None:
    engines = FakeEngines()
    work = CommandWork(engines)
    work.refuse_starts()
    assert "is stopping" in (await work.carry_out(RunStart("c", SPEC))).message
    assert engines.started == []
    assert (await work.carry_out(RunStop("c", "e1", 5.0, forget=True))).succeeded, "stopping is still done"


async def test_a_probe_waits_for_engines_to_end_unless_it_is_forced() -> None:
    engines, probed = FakeEngines(), list[bool]()

    async def probe(force: bool) -> str:
        probed.append(force)
        return "cpu:0 reaches something"

    work = CommandWork(engines, probe)
    await work.carry_out(RunStart("c", SPEC))
    refused = await work.carry_out(RunProbe("p1", force=False))
    assert (refused.succeeded, probed) == (False, [])
    assert "e1 runs here" in refused.message
    assert "force" in refused.message
    assert (await work.carry_out(RunProbe("p2", force=True))).message == "cpu:0 reaches something"
    await work.carry_out(RunStop("c", "e1", 5.0, forget=False))
    assert (await work.carry_out(RunProbe("p3", force=False))).succeeded, "one that has stopped does no harm"
    assert probed == [True, False]


async def test_without_a_probe_it_says_so() -> None:
    assert "has no probe" in (await CommandWork(FakeEngines()).carry_out(RunProbe("p", force=False))).message


@pytest.mark.parametrize(("wanted", "got"), [(0, LOG_LINES_DEFAULT), (3, 3), (10 * LOG_LINES_MAX, LOG_LINES_MAX)])
async def test_logs_are_bounded_and_end_with_the_newest(wanted: int, got: int) -> None:
    lines = tuple(str(number) for number in range(LOG_LINES_MAX + 10))
    answer = await CommandWork(FakeEngines(logs={"e1": lines})).read_log(LogWanted("r", "e1", wanted))
    assert (answer.request_id, answer.problem) == ("r", "")
    assert answer.lines == lines[-got:]


async def test_an_unknown_engines_log_is_answered_with_why() -> None:
    answer = await CommandWork(FakeEngines()).read_log(LogWanted("r", "nobody", 5))
    assert answer.lines == ()
    assert "no engine nobody" in answer.problem
