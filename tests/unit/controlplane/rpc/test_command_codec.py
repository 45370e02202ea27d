"""What is asked of agents, on the wire; and that their answers are bounded before anybody sees them."""

import pytest
from hypothesis import given

from controlplane.fleet.desired import Adapter, Deployment
from controlplane.fleet.node_commands import LogRequest, ProbeCommand, ReportIntervalCommand
from controlplane.policies.placement.reconcile import AdapterCommand, StartCommand, StopCommand
from controlplane.proto.stoker.v1 import agent_pb2
from controlplane.rpc import command_codec
from controlplane.runtime.agent_sessions import AgentCommand, CommandStatus
from tests.support.fleet import placed
from tests.support.protobufs import messages

ENGINE = "llama@gcp-1"


@pytest.mark.parametrize(
    ("command", "action", "engine_id"),
    [
        (StartCommand("c", "gcp-1", placed(ENGINE)), "start", ENGINE),
        (StopCommand("c", "gcp-1", ENGINE, 3, 60.0, forget=True), "stop", ENGINE),
        (AdapterCommand("c", "gcp-1", ENGINE, 3, Adapter("law", "/lora", 1)), "load_adapter", ENGINE),
        (AdapterCommand("c", "gcp-1", ENGINE, 3, Adapter("law", "/lora", 2, wanted=False)), "unload_adapter", ENGINE),
        (ProbeCommand("c", "gcp-1", force=True), "probe", ""),
        (ReportIntervalCommand("c", "gcp-1", 2.5), "report_interval", ""),
    ],
)
def test_every_command_has_its_action_its_id_and_the_epoch(command: AgentCommand, action: str, engine_id: str) -> None:
    message = command_codec.command_to_wire(command, leader_epoch=7)
    assert (message.command_id, message.leader_epoch, message.engine_id) == ("c", 7, engine_id)
    assert message.WhichOneof("action") == action


def test_what_the_actions_carry() -> None:
    deployment = Deployment("llama", "org/llama", "/models/llama", ("--enable-lora",))
    start = command_codec.command_to_wire(
        StartCommand("c", "gcp-1", placed(ENGINE, deployment=deployment, generation=4, device_ids=("cuda:1",))), 1
    )
    spec = start.start.spec
    assert (start.generation, spec.model, spec.source) == (4, "org/llama", "/models/llama")
    assert (list(spec.engine_args), list(spec.device_ids)) == (["--enable-lora"], ["cuda:1"])
    stop = command_codec.command_to_wire(StopCommand("c", "gcp-1", ENGINE, 3, 60.0, forget=True), 1)
    assert (stop.generation, stop.stop.drain_seconds_max, stop.stop.forget) == (3, 60.0, True)
    load = command_codec.command_to_wire(AdapterCommand("c", "gcp-1", ENGINE, 3, Adapter("law", "/lora", 1)), 1)
    assert (load.load_adapter.name, load.load_adapter.source) == ("law", "/lora")
    assert command_codec.command_to_wire(ProbeCommand("c", "gcp-1", force=True), 1).probe.force
    assert command_codec.command_to_wire(ReportIntervalCommand("c", "gcp-1", 2.5), 1).report_interval.seconds == 2.5
    wanted = command_codec.log_request_to_wire(LogRequest("r", ENGINE, 9))
    assert (wanted.request_id, wanted.engine_id, wanted.lines_max) == ("r", ENGINE, 9)


@given(messages(agent_pb2.LogLines))
def test_no_log_is_unbounded_or_reaches_a_terminal_as_it_came(answer: agent_pb2.LogLines) -> None:
    told = command_codec.log_answer_from(answer)
    assert len(told.lines) <= min(len(answer.lines), command_codec.LOG_LINES_MAX)
    assert all(line.isprintable() for line in told.lines)
    assert told.problem.isprintable()


def test_of_a_log_that_is_too_long_the_newest_lines_are_kept() -> None:
    lines = [f"{number:06d} " + 990 * "x" for number in range(1_000)]
    told = command_codec.log_answer_from(agent_pb2.LogLines(request_id="r", lines=lines))
    assert told.lines == tuple(lines[-len(told.lines) :])
    assert 200 < len(told.lines) < 1_000
    assert sum(map(len, told.lines)) <= command_codec.LOG_CHARACTERS_MAX
    many = command_codec.log_answer_from(agent_pb2.LogLines(lines=[str(number) for number in range(9_000)]))
    assert (len(many.lines), many.lines[-1]) == (command_codec.LOG_LINES_MAX, "8999")


def test_outcomes() -> None:
    outcome = agent_pb2.CommandOutcome(command_id="c", status=agent_pb2.COMMAND_STATUS_REFUSED, message="a\x1b[31mb")
    told = command_codec.outcome_from(outcome)
    assert told is not None
    assert (told.command_id, told.status, told.at) == ("c", CommandStatus.REFUSED, None)
    assert told.message.isprintable()
    assert command_codec.outcome_from(agent_pb2.CommandOutcome(command_id="c")) is None, "of a newer release"
