"""From the wire to the fleet's rows: nodes, engines, placements, models, events, the server, and updates of them.

Called by `console.link.client`. Only translates: never does I/O and never judges. A field that is not set becomes None,
and a number of an enum that this release does not know becomes "unknown", so a newer control plane does no harm.
"""

from datetime import UTC, datetime

from console.link.fields import SOURCES, moment, real, whole
from console.link.hardware_codec import health_from_wire, memory_from_wire
from console.link.inside_codec import bill_from_wire, inside_from_wire, residency_from_wire, shape_from_wire
from console.model import fleet_view as rows
from console.model.apply import FleetUpdate
from controlplane.proto.stoker.v1 import fleet_pb2, operator_pb2

_TRUSTS = {
    fleet_pb2.TRUST_FRESH: rows.Trust.FRESH,
    fleet_pb2.TRUST_AGEING: rows.Trust.AGEING,
    fleet_pb2.TRUST_STALE: rows.Trust.STALE,
    fleet_pb2.TRUST_UNSUPPORTED: rows.Trust.UNSUPPORTED,
}
_ENGINE_STATES = {
    fleet_pb2.ENGINE_STATE_STARTING: rows.EngineState.STARTING,
    fleet_pb2.ENGINE_STATE_READY: rows.EngineState.READY,
    fleet_pb2.ENGINE_STATE_DRAINING: rows.EngineState.DRAINING,
    fleet_pb2.ENGINE_STATE_STOPPING: rows.EngineState.STOPPING,
    fleet_pb2.ENGINE_STATE_STOPPED: rows.EngineState.STOPPED,
    fleet_pb2.ENGINE_STATE_BACKING_OFF: rows.EngineState.BACKING_OFF,
    fleet_pb2.ENGINE_STATE_FAILED: rows.EngineState.FAILED,
}
_DESIRED_STATES = {
    operator_pb2.DESIRED_STATE_RUNNING: rows.DesiredState.RUNNING,
    operator_pb2.DESIRED_STATE_DRAINED: rows.DesiredState.DRAINED,
    operator_pb2.DESIRED_STATE_REMOVED: rows.DesiredState.REMOVED,
}
_SEVERITIES = {
    fleet_pb2.SEVERITY_WARNING: rows.Severity.WARNING,
    fleet_pb2.SEVERITY_ERROR: rows.Severity.ERROR,
}
_FIGURE_SOURCES = {
    operator_pb2.FIGURE_SOURCE_PLUGIN: "plugin",
    operator_pb2.FIGURE_SOURCE_METRICS: "metrics",
}


def update_from_wire(message: operator_pb2.FleetUpdate) -> FleetUpdate:
    return FleetUpdate(
        boot_id=message.boot_id,
        cursor=message.cursor,
        reset=message.reset,
        now=moment(message, "now"),
        nodes=tuple(map(node_from_wire, message.nodes)),
        removed_nodes=tuple(message.removed_nodes),
        placements=tuple(map(placement_from_wire, message.placements)),
        removed_placements=tuple(message.removed_placements),
        engines=tuple(map(engine_from_wire, message.engines)),
        removed_engines=tuple(message.removed_engines),
        models=tuple(map(model_from_wire, message.models)),
        removed_models=tuple(message.removed_models),
        events=tuple(map(event_from_wire, message.events)),
        server=server_from_wire(message.server) if message.HasField("server") else None,
    )


def node_from_wire(message: operator_pb2.Node) -> rows.NodeRow:
    return rows.NodeRow(
        name=message.name,
        provider=message.provider,
        region=message.region,
        zone=message.zone,
        labels=dict(message.labels),
        agent_version=message.agent_version,
        connected=message.connected,
        cordoned=message.cordoned,
        cordon_reason=message.cordon_reason,
        trust=_TRUSTS.get(message.trust, rows.Trust.UNKNOWN),
        last_report_at=moment(message, "last_report_at"),
        devices=tuple(map(_device, message.devices)),
        clock_error_seconds=real(message, "clock_error_seconds"),
        os=message.os,
        certificate_not_after=moment(message, "certificate_not_after"),
        health=tuple(map(health_from_wire, message.health)),
        memory=tuple(map(memory_from_wire, message.memory)),
        simulated=message.simulated,
    )


def _device(message: fleet_pb2.Device) -> rows.DeviceRow:
    return rows.DeviceRow(
        device_id=message.device_id,
        kind=message.kind,
        family=message.family,
        memory_bytes=whole(message, "memory_bytes"),
        driver_version=message.driver_version,
        compute_capability=message.compute_capability,
        ceilings=tuple(map(_ceiling, message.ceilings)),
        uuid=message.uuid,
    )


def _ceiling(message: fleet_pb2.Ceiling) -> rows.CeilingRow:
    return rows.CeilingRow(
        dtype=message.dtype,
        flops_per_second=real(message, "flops_per_second"),
        bytes_per_second=real(message, "bytes_per_second"),
        source=SOURCES.get(message.source, ""),
        measured_at=moment(message, "measured_at"),
        disturbed=message.disturbed,
    )


def engine_from_wire(message: operator_pb2.Engine) -> rows.EngineRow:
    status, gauges, counters = message.status, message.status.gauges, message.status.counters
    return rows.EngineRow(
        engine_id=status.engine_id,
        node=message.node,
        provider=message.provider,
        region=message.region,
        model=status.model,
        state=_ENGINE_STATES.get(status.state, rows.EngineState.UNKNOWN),
        stage=status.stage,
        reason=status.reason,
        log_tail=tuple(status.log_tail),
        endpoint=status.endpoint,
        device_ids=tuple(status.device_ids),
        engine_version=status.engine_version,
        restart_count=status.restart_count,
        state_since=moment(status, "state_since"),
        retry_at=moment(status, "retry_at"),
        context_tokens_max=whole(status, "context_tokens_max"),
        dtype=status.dtype,
        kv_capacity_tokens=whole(gauges, "kv_capacity_tokens"),
        kv_used_tokens=whole(gauges, "kv_used_tokens"),
        running=whole(gauges, "running_count"),
        waiting=whole(gauges, "waiting_count"),
        prompt_tokens_total=whole(counters, "prompt_tokens_total"),
        generation_tokens_total=whole(counters, "generation_tokens_total"),
        preemptions_total=whole(counters, "preemptions_total"),
        requests_finished_total=whole(counters, "requests_finished_total"),
        trust=_TRUSTS.get(message.trust, rows.Trust.UNKNOWN),
        last_report_at=moment(message, "last_report_at"),
        working_point=_working_point(message.working_point) if message.HasField("working_point") else None,
        ridge_flops_per_byte=real(message, "ridge_flops_per_byte"),
        ridge_source=SOURCES.get(message.ridge_source, ""),
        inflight=message.inflight_count,
        routable=message.routable,
        not_routable_reason=message.not_routable_reason,
        measured_at=moment(status, "measured_at"),
        shape=shape_from_wire(status),
        inside=inside_from_wire(status),
        recompute=tuple(map(bill_from_wire, status.recompute)),
        residency=residency_from_wire(status),
        residency_agrees=message.residency_agrees if message.HasField("residency_agrees") else None,
        residency_held_chunks_count=whole(message, "residency_chunks_count"),
        adapters=tuple(status.adapters),
    )


def _working_point(message: operator_pb2.WorkingPoint) -> rows.WorkingPointRow:
    return rows.WorkingPointRow(
        window_seconds=message.window_seconds,
        batch_tokens_per_step=real(message, "batch_tokens_per_step"),
        prompt_tokens_per_second=real(message, "prompt_tokens_per_second"),
        generation_tokens_per_second=real(message, "generation_tokens_per_second"),
        flops_per_second=real(message, "flops_per_second"),
        bytes_per_second=real(message, "bytes_per_second"),
        intensity_flops_per_byte=real(message, "intensity_flops_per_byte"),
        prefix_hit_ratio=real(message, "prefix_hit_ratio"),
        ttft_seconds_p50=real(message, "ttft_seconds_p50"),
        ttft_seconds_p95=real(message, "ttft_seconds_p95"),
        inter_token_seconds_p50=real(message, "inter_token_seconds_p50"),
        inter_token_seconds_p95=real(message, "inter_token_seconds_p95"),
        preemptions_per_second=real(message, "preemptions_per_second"),
        source=_FIGURE_SOURCES.get(message.source, ""),
        running_count_mean=real(message, "running_count_mean"),
        prefill_tokens_per_second=real(message, "prefill_tokens_per_second"),
        decode_tokens_per_second=real(message, "decode_tokens_per_second"),
        busy_ratio=real(message, "busy_ratio"),
    )


def placement_from_wire(message: operator_pb2.Placement) -> rows.PlacementRow:
    return rows.PlacementRow(
        placement_id=message.placement_id,
        deployment=message.deployment,
        model=message.model,
        node=message.node,
        device_ids=tuple(message.device_ids),
        generation=message.generation,
        observed_generation=whole(message, "observed_generation"),
        desired=_DESIRED_STATES.get(message.desired, rows.DesiredState.UNKNOWN),
        source=message.source,
        engine_args=tuple(message.engine_args),
        created_at=moment(message, "created_at"),
        created_by=message.created_by,
    )


def model_from_wire(message: operator_pb2.Model) -> rows.ModelRow:
    return rows.ModelRow(
        name=message.name,
        engines_total=message.engines_total,
        engines_routable=message.engines_routable,
        kv_capacity_tokens=whole(message, "kv_capacity_tokens"),
        kv_used_tokens=whole(message, "kv_used_tokens"),
        waiting=whole(message, "waiting_count"),
        providers=tuple(message.providers),
    )


def event_from_wire(message: operator_pb2.Event) -> rows.EventRow:
    return rows.EventRow(
        event_id=message.event_id,
        at=moment(message, "at") or datetime.fromtimestamp(0, UTC),
        severity=_SEVERITIES.get(message.severity, rows.Severity.INFO),
        kind=message.kind,
        message=message.message,
        node=message.node,
        engine_id=message.engine_id,
        model=message.model,
        actor=message.actor,
        device_id=message.device_id,
        action=message.action,
    )


def server_from_wire(message: operator_pb2.Server) -> rows.ServerRow:
    return rows.ServerRow(
        boot_id=message.boot_id,
        version=message.version,
        leader_epoch=message.leader_epoch,
        started_at=moment(message, "started_at"),
        database=message.database,
        gateway_address=message.gateway_address,
        gateway_state=message.gateway_state,
        caller_name=message.caller_name,
        caller_role=message.caller_role,
        samples_waiting=message.samples_waiting_count,
        samples_dropped_total=message.samples_dropped_total,
        fresh_seconds=message.fresh_seconds,
        stale_seconds=message.stale_seconds,
        lost_seconds=message.lost_seconds,
        database_away_since=moment(message, "database_away_since"),
        database_problem=message.database_problem,
        events_waiting=message.events_waiting_count,
        events_dropped_total=message.events_dropped_total,
    )
