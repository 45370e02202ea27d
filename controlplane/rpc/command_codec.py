"""What is asked of agents, to the wire; and what of it they answer, from the wire: commands, outcomes, logs.

Called by `rpc.agent_service`. What comes from a node is text from a stranger, and bounded here.
"""

from controlplane.fleet.node_commands import LogAnswer, LogRequest, ProbeCommand, ReportIntervalCommand
from controlplane.policies.placement.reconcile import AdapterCommand, StartCommand
from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from controlplane.rpc.bounded import text
from controlplane.rpc.timestamps import from_wire
from controlplane.runtime.agent_sessions import AgentCommand, CommandStatus, Outcome

LOG_LINES_MAX = 5_000
LOG_CHARACTERS_MAX = 256 * 1024
_LINE_CHARACTERS_MAX = 1_000

_STATUSES = {
    agent_pb2.COMMAND_STATUS_ACCEPTED: CommandStatus.ACCEPTED,
    agent_pb2.COMMAND_STATUS_SUCCEEDED: CommandStatus.SUCCEEDED,
    agent_pb2.COMMAND_STATUS_FAILED: CommandStatus.FAILED,
    agent_pb2.COMMAND_STATUS_REFUSED: CommandStatus.REFUSED,
}


def outcome_from(outcome: agent_pb2.CommandOutcome) -> Outcome | None:
    """None for a status that this release does not know."""
    status = _STATUSES.get(outcome.status)
    if status is None:
        return None
    return Outcome(text(outcome.command_id, 400), status, text(outcome.message), from_wire(outcome, "at"))


def log_answer_from(answer: agent_pb2.LogLines) -> LogAnswer:
    """The newest lines that fit."""
    kept: list[str] = []
    room = LOG_CHARACTERS_MAX
    for line in reversed(answer.lines[-LOG_LINES_MAX:]):
        told = text(line, _LINE_CHARACTERS_MAX)
        room -= len(told)
        if room < 0:
            break
        kept.append(told)
    return LogAnswer(text(answer.request_id, 64), tuple(reversed(kept)), text(answer.problem))


def log_request_to_wire(request: LogRequest) -> agent_pb2.LogWanted:
    return agent_pb2.LogWanted(request_id=request.request_id, engine_id=request.engine_id, lines_max=request.lines_max)


def command_to_wire(command: AgentCommand, leader_epoch: int) -> agent_pb2.Command:
    message = agent_pb2.Command(command_id=command.command_id, leader_epoch=leader_epoch)
    if isinstance(command, StartCommand):
        placement = command.placement
        message.engine_id, message.generation = placement.placement_id, placement.generation
        spec = fleet_pb2.EngineSpec(
            model=placement.deployment.model,
            source=placement.deployment.source,
            engine_args=placement.deployment.engine_args,
            device_ids=placement.device_ids,
        )
        message.start.CopyFrom(agent_pb2.StartEngine(spec=spec))
    elif isinstance(command, ProbeCommand):
        message.probe.CopyFrom(agent_pb2.ProbeDevices(force=command.force))
    elif isinstance(command, ReportIntervalCommand):
        message.report_interval.CopyFrom(agent_pb2.SetReportInterval(seconds=command.seconds))
    else:
        message.engine_id, message.generation = command.engine_id, command.generation
        if not isinstance(command, AdapterCommand):
            stop = agent_pb2.StopEngine(drain_seconds_max=command.drain_seconds_max, forget=command.forget)
            message.stop.CopyFrom(stop)
        elif command.adapter.wanted:
            load = agent_pb2.LoadAdapter(name=command.adapter.name, source=command.adapter.source)
            message.load_adapter.CopyFrom(load)
        else:
            message.unload_adapter.CopyFrom(agent_pb2.UnloadAdapter(name=command.adapter.name))
    return message
