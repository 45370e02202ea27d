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
from node_agent.link.codec_hardware import health_message, memory_message
from node_agent.link.codec_records import records_message, records_received
from node_agent.link.codec_residency import residency_update_message, residency_wanted
from node_agent.link.codec_values import SEVERITIES, texts, timestamp
from node_agent.session.commands import (
    Action,
    Command,
    CommandStatus,
    Hello,
    LoadAdapterAction,
    LogLines,
    LogWanted,
    Outcome,
    ProbeAction,
    Report,
    ReportIntervalAction,
    StartAction,
    StopAction,
    UnknownAction,
    UnloadAdapterAction,
    Welcome,
)
from node_agent.session.facts import Device, EngineSpec, EngineStatus, NodeEvent
from node_agent.session.inside import ResidencyUpdate, ResidencyWanted
from node_agent.session.protocol import CommandReceived, OutcomeAcknowledged
from node_agent.session.records import RecordBatch, RecordsReceived

_STATUSES = {
    CommandStatus.ACCEPTED: agent_pb2.COMMAND_STATUS_ACCEPTED,
    CommandStatus.SUCCEEDED: agent_pb2.COMMAND_STATUS_SUCCEEDED,
    CommandStatus.FAILED: agent_pb2.COMMAND_STATUS_FAILED,
    CommandStatus.REFUSED: agent_pb2.COMMAND_STATUS_REFUSED,
}


# Of an engine's log; the newest lines that fit. A session's messages must stay small beside its reports.
LOG_BYTES_MAX = 256 * 1024


def agent_message(
    message: Hello | Report | Outcome | NodeEvent | LogLines | RecordBatch | ResidencyUpdate,
) -> agent_pb2.AgentMessage:
    match message:
        case Hello():
            return agent_pb2.AgentMessage(hello=_hello(message))
        case Report():
            return agent_pb2.AgentMessage(report=_report(message))
        case Outcome():
            return agent_pb2.AgentMessage(outcome=_outcome(message))
        case NodeEvent():
            return agent_pb2.AgentMessage(event=_event(message))
        case LogLines():
            return agent_pb2.AgentMessage(log_lines=_log_lines(message))
        case RecordBatch():
            return agent_pb2.AgentMessage(records=records_message(message))
        case ResidencyUpdate():
            return agent_pb2.AgentMessage(residency=residency_update_message(message))


def control_event(
    message: agent_pb2.ControlMessage,
) -> Welcome | CommandReceived | OutcomeAcknowledged | LogWanted | RecordsReceived | ResidencyWanted | None:
    """What the control plane said; None for a kind of message that this agent does not know."""
    match message.WhichOneof("body"):
        case "welcome":
            return _welcome(message.welcome)
        case "command":
            return CommandReceived(_command(message.command))
        case "outcome_received":
            return OutcomeAcknowledged(message.outcome_received.command_id)
        case "log_wanted":
            wanted = message.log_wanted
            return LogWanted(wanted.request_id, wanted.engine_id, wanted.lines_max)
        case "records_received":
            return records_received(message.records_received)
        case "residency_wanted":
            return residency_wanted(message.residency_wanted)
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
        node_name=hello.stands_for.node_name if hello.stands_for else "",
        provider=hello.stands_for.provider if hello.stands_for else "",
        region=hello.stands_for.region if hello.stands_for else "",
        zone=hello.stands_for.zone if hello.stands_for else "",
    )


def _report(report: Report) -> agent_pb2.Report:
    return agent_pb2.Report(
        sequence=report.sequence,
        sent_at=timestamp(report.sent_at),
        engines=_engines(report.engines),
        devices=_devices(report.devices),
        health=[health_message(health) for health in report.health],
        memory=[memory_message(ledger) for ledger in report.memory],
    )


def _outcome(outcome: Outcome) -> agent_pb2.CommandOutcome:
    [command_id, message] = texts((outcome.command_id, outcome.message))
    return agent_pb2.CommandOutcome(
        command_id=command_id, status=_STATUSES[outcome.status], message=message, at=timestamp(outcome.at)
    )


def _event(event: NodeEvent) -> agent_pb2.NodeEvent:
    [kind, message, engine_id, device_id, action] = texts(
        (event.kind, event.message, event.engine_id, event.device_id, event.action)
    )
    return agent_pb2.NodeEvent(
        kind=kind,
        message=message,
        engine_id=engine_id,
        occurred_at=timestamp(event.occurred_at),
        severity=SEVERITIES[event.severity],
        device_id=device_id,
        action=action,
    )


def _log_lines(log: LogLines) -> agent_pb2.LogLines:
    [request_id, problem] = texts((log.request_id, log.problem))
    kept: list[str] = []
    room = LOG_BYTES_MAX
    for line in reversed(texts(log.lines)):
        room -= len(line.encode()) + 3  # its tag and length
        if room < 0:
            break
        kept.append(line)
    return agent_pb2.LogLines(request_id=request_id, lines=reversed(kept), problem=problem)


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
        case "load_adapter":
            return LoadAdapterAction(message.load_adapter.name, message.load_adapter.source)
        case "unload_adapter":
            return UnloadAdapterAction(message.unload_adapter.name)
        case "probe":
            return ProbeAction(message.probe.force)
        case "report_interval":
            return ReportIntervalAction(message.report_interval.seconds)
        case _:
            return UnknownAction()


def _datetime(message: Timestamp) -> datetime | None:
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError):
        return None
