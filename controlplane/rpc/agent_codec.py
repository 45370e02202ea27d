"""What agents say, from the wire to facts; and commands, from plans to the wire.

Called by `rpc.agent_service`. What comes from a node is text from a stranger: everything is bounded here, so that nothing
beyond can be flooded. Unset stays None.
"""

import math
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

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
)
from controlplane.fleet.sources import Source
from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from controlplane.rpc.agent_inside_codec import SOURCES, inside_from, recompute_from, residency_from, shape_from
from controlplane.rpc.bounded import COUNT_MAX, LIST_MAX, count, number, real, text
from controlplane.rpc.timestamps import from_wire
from controlplane.services.admit_simulated import SpokenFor

BUCKETS_MAX = 128
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
_SEVERITIES = {
    fleet_pb2.SEVERITY_WARNING: Severity.WARNING,
    fleet_pb2.SEVERITY_ERROR: Severity.ERROR,
}


def _address(value: str) -> str:
    """An engine's "host:port"; "" when it is none: it goes into the gateway's headers and files."""
    return value if len(value) <= 260 and _ADDRESS.fullmatch(value) else ""


def facts_from(hello: agent_pb2.Hello) -> NodeFacts:
    return NodeFacts(
        agent_version=text(hello.agent_version, 64),
        boot_id=text(hello.boot_id, 64),
        os=text(hello.os, 128),
        devices=devices_from(hello.devices),
        capabilities=tuple(text(item, 64) for item in hello.capabilities[:LIST_MAX]),
    )


def spoken_for(hello: agent_pb2.Hello) -> SpokenFor:
    """Checked by the service: a name that is no name is to be refused, not mended."""
    return SpokenFor(hello.node_name, hello.provider, hello.region, hello.zone, tuple(hello.capabilities[:LIST_MAX]))


def devices_from(devices: Sequence[fleet_pb2.Device]) -> tuple[Device, ...]:
    return tuple(
        Device(
            device_id=text(device.device_id, 64),
            kind=text(device.kind, 128),
            family=text(device.family, 32),
            memory_bytes=count(device, "memory_bytes"),
            driver_version=text(device.driver_version, 64),
            compute_capability=text(device.compute_capability, 32),
            ceilings=tuple(_ceiling(ceiling) for ceiling in device.ceilings[:16]),
            uuid=text(device.uuid, 64),
        )
        for device in devices[:LIST_MAX]
    )


def _ceiling(ceiling: fleet_pb2.Ceiling) -> Ceiling:
    return Ceiling(
        dtype=text(ceiling.dtype, 32),
        flops_per_second=real(ceiling, "flops_per_second"),
        bytes_per_second=real(ceiling, "bytes_per_second"),
        source=SOURCES.get(ceiling.source, Source.ASSUMED),
        measured_at=from_wire(ceiling, "measured_at"),
        disturbed=ceiling.disturbed,
    )


def engines_from(engines: Sequence[fleet_pb2.EngineStatus]) -> tuple[EngineReport, ...]:
    """Engines of a known state; one in a state that this release does not know is left out, not guessed."""
    return tuple(_engine(engine) for engine in engines[:LIST_MAX] if engine.state in _STATES and engine.engine_id)


def _engine(engine: fleet_pb2.EngineStatus) -> EngineReport:
    return EngineReport(
        engine_id=text(engine.engine_id, 320),
        generation=engine.generation,
        instance_id=text(engine.instance_id, 64),
        model=text(engine.model, 192),
        state=_STATES[engine.state],
        state_since=from_wire(engine, "state_since"),
        stage=text(engine.stage, 200),
        reason=text(engine.reason),
        log_tail=tuple(text(line, 1000) for line in engine.log_tail[-40:]),
        endpoint=_address(engine.endpoint),
        device_ids=tuple(text(item, 64) for item in engine.device_ids[:LIST_MAX]),
        engine_version=text(engine.engine_version, 64),
        restart_count=engine.restart_count,
        retry_at=from_wire(engine, "retry_at"),
        context_tokens_max=count(engine, "context_tokens_max"),
        served_paths=tuple(text(item, 200) for item in engine.served_paths[:LIST_MAX]),
        dtype=text(engine.dtype, 32),
        gauges=_gauges(engine.gauges),
        counters=_counters(engine.counters),
        measured_at=from_wire(engine, "measured_at"),
        pid=engine.pid,
        shape=shape_from(engine),
        inside=inside_from(engine),
        recompute=recompute_from(engine.recompute),
        residency=residency_from(engine),
        adapters=tuple(text(item, 192) for item in engine.adapters[:LIST_MAX]),
    )


def _gauges(gauges: fleet_pb2.EngineGauges) -> EngineGauges:
    return EngineGauges(
        kv_capacity_tokens=count(gauges, "kv_capacity_tokens"),
        kv_used_tokens=count(gauges, "kv_used_tokens"),
        running=count(gauges, "running_count", REQUESTS_MAX),
        waiting=count(gauges, "waiting_count", REQUESTS_MAX),
    )


def _counters(c: fleet_pb2.EngineCounters) -> EngineCounters:
    return EngineCounters(
        prompt_tokens=count(c, "prompt_tokens_total"),
        generation_tokens=count(c, "generation_tokens_total"),
        steps=count(c, "steps_total"),
        step_tokens=count(c, "step_tokens_total"),
        prefix_query_tokens=count(c, "prefix_query_tokens_total"),
        prefix_hit_tokens=count(c, "prefix_hit_tokens_total"),
        preemptions=count(c, "preemptions_total"),
        requests_finished=count(c, "requests_finished_total"),
        flops=real(c, "flops_total"),
        bytes=real(c, "bytes_total"),
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
        and all(each <= COUNT_MAX // len(histogram.counts) for each in histogram.counts)
        and number(histogram.sum) is not None
    )
    return Histogram(bounds, tuple(histogram.counts), histogram.sum) if well_formed else None


def event_from(event: agent_pb2.NodeEvent, node: str, received_at: datetime) -> FleetEvent:
    """The agent's event, under its node's name and our clock: a node's clock must not reorder the log."""
    return FleetEvent(
        received_at,
        _SEVERITIES.get(event.severity, Severity.INFO),
        text(event.kind, 64) or "agent_event",
        text(event.message),
        node=node,
        engine_id=text(event.engine_id, 320),
        actor=f"agent:{node}",
        device_id=text(event.device_id, 64),
        action=text(event.action, 1000),
    )
