"""LoRA adapters: loaded into the running engine, loaded again into the next one, refused in clear words."""

from pathlib import Path

import pytest

from node_agent.errors import AdapterError, AgentError, EngineNotHereError
from node_agent.session.facts import EngineState
from tests.fakes.supervised import Bench, engine_spec


@pytest.fixture
def lora(tmp_path: Path) -> str:
    path = tmp_path / "lora"
    path.mkdir()
    return str(path)


async def test_an_adapter_is_served_and_comes_back_with_the_next_process(bench: Bench, lora: str) -> None:
    await bench.supervisor.start(engine_spec("one", "--enable-lora"))
    first = await bench.until_state(EngineState.READY)
    await bench.supervisor.load_adapter("one", "law", lora)
    await bench.supervisor.load_adapter("one", "law", lora)  # as good as done
    assert bench.status().adapters == ("law",)
    await bench.command(exit=1)
    await bench.until(lambda: bench.status().instance_id not in ("", first.instance_id), seconds_a_round=1.0)
    assert (await bench.until_state(EngineState.READY, seconds_a_round=1.0)).adapters == ("law",)
    await bench.supervisor.unload_adapter("one", "law")
    assert bench.status().adapters == ()
    await bench.supervisor.unload_adapter("one", "law")


async def test_the_next_agent_remembers_it(bench: Bench, lora: str) -> None:
    await bench.supervisor.start(engine_spec("one", "--enable-lora"))
    first = await bench.until_state(EngineState.READY)
    await bench.supervisor.load_adapter("one", "law", lora)
    await bench.restart_agent().readopt()
    assert bench.status().adapters == ("law",)
    await bench.until_state(EngineState.READY)
    await bench.supervisor.start(engine_spec("one", "--enable-lora", generation=2))
    await bench.until(lambda: bench.status().generation == 2, seconds_a_round=1.0)
    second = await bench.until_state(EngineState.READY, seconds_a_round=1.0)
    assert (second.instance_id != first.instance_id, second.adapters) == (True, ("law",))


async def test_refusals_say_what_to_do_and_are_not_remembered(bench: Bench, lora: str, tmp_path: Path) -> None:
    with pytest.raises(EngineNotHereError, match="there is no engine one"):
        await bench.supervisor.load_adapter("one", "law", lora)
    await bench.supervisor.start(engine_spec("one"))
    with pytest.raises(EngineNotHereError, match="is starting"):
        await bench.supervisor.load_adapter("one", "law", lora)
    await bench.until_state(EngineState.READY)
    with pytest.raises(AdapterError, match="restart it with that argument"):
        await bench.supervisor.load_adapter("one", "law", lora)
    await bench.supervisor.start(engine_spec("two", "--enable-lora"))
    await bench.until_state(EngineState.READY, "two")
    with pytest.raises(AdapterError, match="does not exist on this node"):
        await bench.supervisor.load_adapter("two", "law", f"{lora}/nowhere")
    broken = tmp_path / "broken"
    broken.mkdir()
    with pytest.raises(AdapterError, match="its rank is 999, which is more than 16"):
        await bench.supervisor.load_adapter("two", "law", str(broken))
    assert bench.status("two").adapters == ()


async def test_a_refused_generation_leaves_what_runs_and_says_why(bench: Bench) -> None:
    await bench.supervisor.start(engine_spec("one"))
    first = await bench.until_state(EngineState.READY)
    with pytest.raises(AgentError, match="vLLM refused these arguments: unrecognized arguments: --fake-refused"):
        await bench.supervisor.start(engine_spec("one", "--fake-refused", generation=2))
    now = bench.status()
    assert (now.state, now.instance_id, now.generation) == (EngineState.READY, first.instance_id, 1)
    assert now.reason.startswith("generation 2 was not started, generation 1 stays: vLLM refused")
    await bench.supervisor.start(engine_spec("one", generation=3))
    await bench.until(lambda: bench.status().generation == 3, seconds_a_round=1.0)
    assert (await bench.until_state(EngineState.READY, seconds_a_round=1.0)).reason == ""


async def test_the_log_can_be_read_while_it_runs_and_after_it_died(bench: Bench) -> None:
    await bench.supervisor.start(engine_spec("one", "--fake-exit", "2"))
    await bench.until_state(EngineState.FAILED)
    lines = await bench.supervisor.read_log("one", 100)
    assert lines[-1] == "ValueError: the fake was told to die at once"
    assert await bench.supervisor.read_log("one", 1) == lines[-1:]
    await bench.restart_agent().readopt()
    assert await bench.supervisor.read_log("one", 1) == lines[-1:], "also when this agent never saw it run"
    for unknown in ("two", "../../etc"):
        with pytest.raises(AgentError):
            await bench.supervisor.read_log(unknown, 10)
