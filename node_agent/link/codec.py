"""Between the agent's facts and the wire: the only module of the agent that knows field names of `stoker.v1`.

Called by `session_link` and `session_runner`. Outward it never raises: what a probe got wrong (a negative count, a
broken string) is left unset, because a report that cannot be sent would make the whole node look dead. Inward it never
trusts: what cannot be read becomes None or `UnknownAction`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from node_agent.link.codec_engines import device_message, engine_message
from node_agent.link.codec_values import texts, timestamp
from node_agent.session.commands import (
    Action,
    Command,
    CommandStatus,
    Hello,
    Outcome,
    Report,
    StartAction,
    StopAction,
    UnknownAction,
    Welcome,
)
from node_agent.session.facts import Device, EngineSpec, EngineStatus, NodeEvent, Severity
from node_agent.session.protocol import CommandReceived, OutcomeAcknowledged

_STATUSES = {
    CommandStatus.ACCEPTED: agent_pb2.COMMAND_STATUS_ACCEPTED,
    CommandStatus.SUCCEEDED: agent_pb2.COMMAND_STATUS_SUCCEEDED,
    CommandStatus.FAILED: agent_pb2.COMMAND_STATUS_FAILED,
    CommandStatus.REFUSED: agent_pb2.COMMAND_STATUS_REFUSED,
}
_SEVERITIES = {
    Severity.INFO: agent_pb2.SEVERITY_INFO,
    Severity.WARNING: agent_pb2.SEVERITY_WARNING,
    Severity.ERROR: agent_pb2.SEVERITY_ERROR,
}


def agent_message(message: Hello | Report | Outcome | NodeEvent) -> agent_pb2.AgentMessage:
    match message:
        case Hello():
            return agent_pb2.AgentMessage(hello=_hello(message))
        case Report():
            return agent_pb2.AgentMessage(report=_report(message))
        case Outcome():
            return agent_pb2.AgentMessage(outcome=_outcome(message))
        case NodeEvent():
            return agent_pb2.AgentMessage(event=_event(message))


def control_event(message: agent_pb2.ControlMessage) -> Welcome | CommandReceived | OutcomeAcknowledged | None:
    """What the control plane said; None for a kind of message that this agent does not know."""
    match message.WhichOneof("body"):
        case "welcome":
            return _welcome(message.welcome)
        case "command":
            return CommandReceived(_command(message.command))
        case "outcome_received":
            return OutcomeAcknowledged(message.outcome_received.command_id)
        case _:
            return None


def _hello(hello: Hello) -> agent_pb2.Hello:
    return agent_pb2.Hello(
        protocol_version=hello.protocol_version,
        protocol_version_min=hello.protocol_version_min,
        agent_version=hello.agent_version,
        boot_id=hello.boot_id,
        devices=_devices(hello.devices),
        engines=_engines(hello.engines),
        leader_epoch_seen=hello.leader_epoch_seen,
        os=hello.os,
        capabilities=texts(hello.capabilities),
    )


def _report(report: Report) -> agent_pb2.Report:
    return agent_pb2.Report(
        sequence=report.sequence,
        sent_at=timestamp(report.sent_at),
        engines=_engines(report.engines),
        devices=_devices(report.devices),
    )


def _outcome(outcome: Outcome) -> agent_pb2.CommandOutcome:
    [command_id, message] = texts((outcome.command_id, outcome.message))
    return agent_pb2.CommandOutcome(
        command_id=command_id, status=_STATUSES[outcome.status], message=message, at=timestamp(outcome.at)
    )


def _event(event: NodeEvent) -> agent_pb2.NodeEvent:
    [kind, message, engine_id] = texts((event.kind, event.message, event.engine_id))
    return agent_pb2.NodeEvent(
        kind=kind,
        message=message,
        engine_id=engine_id,
        occurred_at=timestamp(event.occurred_at),
        severity=_SEVERITIES[event.severity],
    )


def _devices(devices: Iterable[Device]) -> list[fleet_pb2.Device]:
    return [device_message(device) for device in devices]


def _engines(engines: Iterable[EngineStatus]) -> list[fleet_pb2.EngineStatus]:
    return [engine_message(engine) for engine in engines]


def _welcome(message: agent_pb2.Welcome) -> Welcome:
    return Welcome(
        protocol_version=message.protocol_version,
        control_plane_version=message.control_plane_version,
        leader_epoch=message.leader_epoch,
        report_interval_seconds=message.report_interval_seconds,
        lease_seconds=message.lease_seconds,
        now=_datetime(message.now) if message.HasField("now") else None,
    )


def _command(message: agent_pb2.Command) -> Command:
    return Command(
        command_id=message.command_id,
        leader_epoch=message.leader_epoch,
        generation=message.generation,
        engine_id=message.engine_id,
        action=_action(message),
    )


def _action(message: agent_pb2.Command) -> Action:
    match message.WhichOneof("action"):
        case "start":
            spec = message.start.spec
            return StartAction(
                EngineSpec(
                    engine_id=message.engine_id,
                    generation=message.generation,
                    model=spec.model,
                    source=spec.source,
                    engine_args=tuple(spec.engine_args),
                    device_ids=tuple(spec.device_ids),
                )
            )
        case "stop":
            return StopAction(message.stop.drain_seconds_max, message.stop.forget)
        case _:
            return UnknownAction()


def _datetime(message: Timestamp) -> datetime | None:
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError):
        return None
