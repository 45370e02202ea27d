"""What agents say, from the wire to facts; and commands, from plans to the wire.

Called by `rpc.agent_service`. What comes from a node is text from a stranger: everything is bounded here, so that nothing
beyond can be flooded. Unset stays None.
"""

import math
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import (
    Ceiling,
    Device,
    EngineCounters,
    EngineGauges,
    EngineReport,
    EngineState,
    Histogram,
    NodeFacts,
    Severity,
    Source,
)
from controlplane.policies.placement.reconcile import StartCommand
from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from controlplane.rpc.timestamps import from_wire
from controlplane.runtime.agent_sessions import AgentCommand, CommandStatus, Outcome

TEXT_MAX = 4000
LIST_MAX = 256
BUCKETS_MAX = 128
COUNT_MAX = 2**53  # a double still tells it from its neighbours
REQUESTS_MAX = 1_000_000  # at one engine

_ADDRESS = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")

_STATES = {
    fleet_pb2.ENGINE_STATE_STARTING: EngineState.STARTING,
    fleet_pb2.ENGINE_STATE_READY: EngineState.READY,
    fleet_pb2.ENGINE_STATE_DRAINING: EngineState.DRAINING,
    fleet_pb2.ENGINE_STATE_STOPPING: EngineState.STOPPING,
    fleet_pb2.ENGINE_STATE_STOPPED: EngineState.STOPPED,
    fleet_pb2.ENGINE_STATE_BACKING_OFF: EngineState.BACKING_OFF,
    fleet_pb2.ENGINE_STATE_FAILED: EngineState.FAILED,
}
_SOURCES = {
    fleet_pb2.SOURCE_MEASURED: Source.MEASURED,
    fleet_pb2.SOURCE_CONFIGURED: Source.CONFIGURED,
    fleet_pb2.SOURCE_TABLE: Source.TABLE,
}
_SEVERITIES = {
    agent_pb2.SEVERITY_WARNING: Severity.WARNING,
    agent_pb2.SEVERITY_ERROR: Severity.ERROR,
}
_STATUSES = {
    agent_pb2.COMMAND_STATUS_ACCEPTED: CommandStatus.ACCEPTED,
    agent_pb2.COMMAND_STATUS_SUCCEEDED: CommandStatus.SUCCEEDED,
    agent_pb2.COMMAND_STATUS_FAILED: CommandStatus.FAILED,
    agent_pb2.COMMAND_STATUS_REFUSED: CommandStatus.REFUSED,
}


def _text(value: str, length_max: int = TEXT_MAX) -> str:
    """Bounded, and without control characters: it will be shown in terminals and logs."""
    return "".join(c if c.isprintable() else " " for c in value[:length_max])


def _number(value: float) -> float | None:
    return value if math.isfinite(value) and value >= 0 else None


def _count(message: Any, field: str, count_max: int = COUNT_MAX) -> int | None:
    """None when unset, and when it is larger than anything real: sums of such would fit neither the wire nor SQL."""
    value: int = getattr(message, field)
    return value if message.HasField(field) and value <= count_max else None


def _address(value: str) -> str:
    """An engine's "host:port"; "" when it is none: it goes into the gateway's headers and files."""
    return value if len(value) <= 260 and _ADDRESS.fullmatch(value) else ""


def facts_from(hello: agent_pb2.Hello) -> NodeFacts:
    return NodeFacts(
        agent_version=_text(hello.agent_version, 64),
        boot_id=_text(hello.boot_id, 64),
        os=_text(hello.os, 128),
        devices=devices_from(hello.devices),
        capabilities=tuple(_text(item, 64) for item in hello.capabilities[:LIST_MAX]),
    )


def devices_from(devices: Sequence[fleet_pb2.Device]) -> tuple[Device, ...]:
    return tuple(
        Device(
            device_id=_text(device.device_id, 64),
            kind=_text(device.kind, 128),
            family=_text(device.family, 32),
            memory_bytes=_count(device, "memory_bytes"),
            driver_version=_text(device.driver_version, 64),
            compute_capability=_text(device.compute_capability, 32),
            ceilings=tuple(_ceiling(ceiling) for ceiling in device.ceilings[:16]),
        )
        for device in devices[:LIST_MAX]
    )


def _ceiling(ceiling: fleet_pb2.Ceiling) -> Ceiling:
    return Ceiling(
        dtype=_text(ceiling.dtype, 32),
        flops_per_second=_number(ceiling.flops_per_second) if ceiling.HasField("flops_per_second") else None,
        bytes_per_second=_number(ceiling.bytes_per_second) if ceiling.HasField("bytes_per_second") else None,
        source=_SOURCES.get(ceiling.source, Source.ASSUMED),
        measured_at=from_wire(ceiling, "measured_at"),
    )


def engines_from(engines: Sequence[fleet_pb2.EngineStatus]) -> tuple[EngineReport, ...]:
    """Engines of a known state; one in a state that this release does not know is left out, not guessed."""
    return tuple(_engine(engine) for engine in engines[:LIST_MAX] if engine.state in _STATES and engine.engine_id)


def _engine(engine: fleet_pb2.EngineStatus) -> EngineReport:
    return EngineReport(
        engine_id=_text(engine.engine_id, 320),
        generation=engine.generation,
        instance_id=_text(engine.instance_id, 64),
        model=_text(engine.model, 192),
        state=_STATES[engine.state],
        state_since=from_wire(engine, "state_since"),
        stage=_text(engine.stage, 200),
        reason=_text(engine.reason),
        log_tail=tuple(_text(line, 1000) for line in engine.log_tail[-40:]),
        endpoint=_address(engine.endpoint),
        device_ids=tuple(_text(item, 64) for item in engine.device_ids[:LIST_MAX]),
        engine_version=_text(engine.engine_version, 64),
        restart_count=engine.restart_count,
        retry_at=from_wire(engine, "retry_at"),
        context_tokens_max=_count(engine, "context_tokens_max"),
        served_paths=tuple(_text(item, 200) for item in engine.served_paths[:LIST_MAX]),
        dtype=_text(engine.dtype, 32),
        gauges=_gauges(engine.gauges),
        counters=_counters(engine.counters),
        measured_at=from_wire(engine, "measured_at"),
        pid=engine.pid,
    )


def _gauges(gauges: fleet_pb2.EngineGauges) -> EngineGauges:
    return EngineGauges(
        kv_capacity_tokens=_count(gauges, "kv_capacity_tokens"),
        kv_used_tokens=_count(gauges, "kv_used_tokens"),
        running=_count(gauges, "running_count", REQUESTS_MAX),
        waiting=_count(gauges, "waiting_count", REQUESTS_MAX),
    )


def _counters(c: fleet_pb2.EngineCounters) -> EngineCounters:
    return EngineCounters(
        prompt_tokens=_count(c, "prompt_tokens_total"),
        generation_tokens=_count(c, "generation_tokens_total"),
        steps=_count(c, "steps_total"),
        step_tokens=_count(c, "step_tokens_total"),
        prefix_query_tokens=_count(c, "prefix_query_tokens_total"),
        prefix_hit_tokens=_count(c, "prefix_hit_tokens_total"),
        preemptions=_count(c, "preemptions_total"),
        requests_finished=_count(c, "requests_finished_total"),
        flops=_number(c.flops_total) if c.HasField("flops_total") else None,
        bytes=_number(c.bytes_total) if c.HasField("bytes_total") else None,
        ttft_seconds=_histogram(c.ttft_seconds) if c.HasField("ttft_seconds") else None,
        inter_token_seconds=_histogram(c.inter_token_seconds) if c.HasField("inter_token_seconds") else None,
    )


def _histogram(histogram: fleet_pb2.Histogram) -> Histogram | None:
    """None when it is no histogram: bounds out of order, or not one count more than bounds."""
    bounds = tuple(histogram.upper_bounds)
    well_formed = (
        len(bounds) <= BUCKETS_MAX
        and len(histogram.counts) == len(bounds) + 1
        and all(math.isfinite(bound) for bound in bounds)
        and all(a < b for a, b in pairwise(bounds))
        and all(count <= COUNT_MAX // len(histogram.counts) for count in histogram.counts)
        and _number(histogram.sum) is not None
    )
    return Histogram(bounds, tuple(histogram.counts), histogram.sum) if well_formed else None


def outcome_from(outcome: agent_pb2.CommandOutcome) -> Outcome | None:
    """None for a status that this release does not know."""
    status = _STATUSES.get(outcome.status)
    return None if status is None else Outcome(_text(outcome.command_id, 400), status, _text(outcome.message))


def event_from(event: agent_pb2.NodeEvent, node: str, received_at: datetime) -> FleetEvent:
    """The agent's event, under its node's name and our clock: a node's clock must not reorder the log."""
    return FleetEvent(
        received_at,
        _SEVERITIES.get(event.severity, Severity.INFO),
        _text(event.kind, 64) or "agent_event",
        _text(event.message),
        node=node,
        engine_id=_text(event.engine_id, 320),
        actor=f"agent:{node}",
    )


def command_to_wire(command: AgentCommand, leader_epoch: int) -> agent_pb2.Command:
    if isinstance(command, StartCommand):
        placement = command.placement
        spec = fleet_pb2.EngineSpec(
            model=placement.deployment.model,
            source=placement.deployment.source,
            engine_args=placement.deployment.engine_args,
            device_ids=placement.device_ids,
        )
        return agent_pb2.Command(
            command_id=command.command_id,
            leader_epoch=leader_epoch,
            generation=placement.generation,
            engine_id=placement.placement_id,
            start=agent_pb2.StartEngine(spec=spec),
        )
    return agent_pb2.Command(
        command_id=command.command_id,
        leader_epoch=leader_epoch,
        generation=command.generation,
        engine_id=command.engine_id,
        stop=agent_pb2.StopEngine(drain_seconds_max=command.drain_seconds_max, forget=command.forget),
    )
