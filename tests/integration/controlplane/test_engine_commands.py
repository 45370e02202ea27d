"""Restart with arguments, adapters, probes and logs: from an operator's call to the agent's stream and back."""

from typing import Any

import grpc
import pytest

from controlplane.fleet.access import Role
from controlplane.fleet.desired import Deployment
from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2, operator_pb2
from tests.support.fleet import placed
from tests.support.served import AgentStream, Served, until

NAME = "llama@gcp-1"
LORA = Deployment("llama", "llama", "/models/llama", ("--enable-lora",))


def status(generation: int, *adapters: str) -> fleet_pb2.EngineStatus:
    return fleet_pb2.EngineStatus(
        engine_id=NAME, generation=generation, model="llama", state=fleet_pb2.ENGINE_STATE_READY, adapters=adapters
    )


async def connected(plane: Served, *engines: fleet_pb2.EngineStatus, capabilities: tuple[str, ...]) -> AgentStream:
    agent = AgentStream(plane.channel(plane.node()))
    await agent.greet(engines=engines, capabilities=capabilities)
    return agent


async def command(agent: AgentStream) -> agent_pb2.Command:
    while True:
        message = await agent.hear()
        if message.WhichOneof("body") == "command":
            return message.command


async def refusal(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return str(error.value.details())


async def test_a_restart_with_arguments_arrives_and_its_failure_is_seen(plane: Served) -> None:
    await plane.enrol(placements=(placed(NAME),))
    agent = await connected(plane, status(1), capabilities=("commands.v1", "commands.v2"))
    stub = await plane.operators(Role.OPERATOR)
    request = operator_pb2.RestartRequest(
        placement_id=NAME, replace_args=True, engine_args=["--max-model-len", "9"], reason="smaller", dry_run=True
    )
    would = await stub.Restart(request)
    assert any("--max-model-len 9" in step for step in would.steps)
    assert plane.snapshot.desired.placements[NAME].generation == 1
    request.dry_run = False
    await stub.Restart(request)
    sent = await command(agent)
    assert (sent.generation, list(sent.start.spec.engine_args)) == (2, ["--max-model-len", "9"])
    outcome = agent_pb2.CommandOutcome(
        command_id=sent.command_id, status=agent_pb2.COMMAND_STATUS_FAILED, message="vLLM refused these arguments: no"
    )
    outcome.at.FromSeconds(1_900_000_000)
    await agent.say(outcome=outcome)
    await agent.say(outcome=outcome)

    async def failures() -> list[str]:
        found = await stub.ListEvents(operator_pb2.ListEventsRequest(engine_id=NAME, kind="command_failed"))
        return [event.message for event in found.events]

    acknowledged = [message async for message in _acknowledgements(agent, 2)]
    assert acknowledged == [sent.command_id] * 2
    for writer in plane.parts.writers:
        assert await writer.flush()
    [told] = await failures()
    assert "vLLM refused these arguments: no" in told
    entries = await plane.database.run(lambda uow: uow.audit.list(actor="operator:operator"))
    assert [(entry.action, "--max-model-len 9" in entry.detail) for entry in entries] == [("restart", True)]


async def _acknowledgements(agent: AgentStream, count: int) -> Any:
    for _ in range(count):
        yield (await agent.hear()).outcome_received.command_id


async def test_an_adapter_is_loaded_again_by_every_new_generation_until_it_is_unloaded(plane: Served) -> None:
    await plane.enrol(placements=(placed(NAME, deployment=LORA),))
    agent = await connected(plane, status(1), capabilities=("commands.v2",))
    stub = await plane.operators(Role.OPERATOR)
    await stub.LoadAdapter(operator_pb2.AdapterRequest(placement_id=NAME, name="law", source="/lora/law"))
    sent = await command(agent)
    assert (sent.load_adapter.name, sent.load_adapter.source, sent.engine_id) == ("law", "/lora/law", NAME)
    await stub.Restart(operator_pb2.RestartRequest(placement_id=NAME))
    assert (await command(agent)).start.spec.engine_args == ["--enable-lora"]
    await agent.say(report=agent_pb2.Report(sequence=1, engines=[status(2)]))
    again = await command(agent)
    assert (again.load_adapter.name, again.generation) == ("law", 2)
    assert "unload them first" in await refusal(
        stub.Restart(operator_pb2.RestartRequest(placement_id=NAME, replace_args=True))
    )
    await agent.say(report=agent_pb2.Report(sequence=2, engines=[status(2, "law", "fixed")]))
    await until(lambda: plane.snapshot.engines[NAME].report.adapters, "it is seen to be served")
    await stub.UnloadAdapter(operator_pb2.AdapterRequest(placement_id=NAME, name="law"))
    assert (await command(agent)).unload_adapter.name == "law"


async def test_logs_and_probes_of_a_node(plane: Served) -> None:
    await plane.enrol(placements=(placed(NAME),))
    viewer, operator = await plane.operators(Role.VIEWER), await plane.operators(Role.OPERATOR)
    assert "not connected" in await refusal(viewer.ReadEngineLog(operator_pb2.EngineLogRequest(engine_id=NAME)))
    agent = await connected(plane, status(1), capabilities=("commands.v2",))
    await until(lambda: NAME in plane.snapshot.engines, "the engine is known")
    reading = viewer.ReadEngineLog(operator_pb2.EngineLogRequest(engine_id=NAME, lines_max=7))
    wanted = (await agent.hear()).log_wanted
    assert (wanted.engine_id, wanted.lines_max) == (NAME, 7)
    await agent.say(log_lines=agent_pb2.LogLines(request_id="of somebody else", lines=["no"]))
    await agent.say(log_lines=agent_pb2.LogLines(request_id=wanted.request_id, lines=["a \x1b[31mline"]))
    assert list((await reading).lines) == ["a  [31mline"]
    await operator.ProbeNode(operator_pb2.ProbeNodeRequest(node="gcp-1", force=True))
    sent = await command(agent)
    assert (sent.probe.force, sent.engine_id) == (True, "")
    await operator.SetReportInterval(operator_pb2.ReportIntervalRequest(node="gcp-1", seconds=2))
    assert (await command(agent)).report_interval.seconds == 2


async def test_an_agent_that_is_too_old_is_not_asked(plane: Served) -> None:
    await plane.enrol(placements=(placed(NAME, deployment=LORA),))
    await connected(plane, status(1), capabilities=("commands.v1",))
    await until(lambda: NAME in plane.snapshot.engines, "the engine is known")
    stub = await plane.operators(Role.OPERATOR)
    for call in (
        stub.ReadEngineLog(operator_pb2.EngineLogRequest(engine_id=NAME)),
        stub.ProbeNode(operator_pb2.ProbeNodeRequest(node="gcp-1")),
        stub.SetReportInterval(operator_pb2.ReportIntervalRequest(node="gcp-1", seconds=1)),
        stub.LoadAdapter(operator_pb2.AdapterRequest(placement_id=NAME, name="law", source="/lora/law")),
    ):
        assert "upgrade stoker-agent there" in await refusal(call)
