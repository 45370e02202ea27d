"""The fleet, from a snapshot to the wire, for operators. Called by `rpc.operator_service`; decides nothing."""

from datetime import datetime

from controlplane.fleet.desired import DesiredState, Placement
from controlplane.fleet.history import EngineHistoryRow, FleetEvent
from controlplane.fleet.inside import ResidencyHeld
from controlplane.fleet.observed import (
    EngineReport,
    EngineState,
    FigureSource,
    Histogram,
    Trust,
    WorkingPoint,
)
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot
from controlplane.proto.stoker.v1 import fleet_pb2, operator_pb2
from controlplane.rpc.fleet_hardware_codec import SEVERITIES, device_to_wire, health_to_wire, memory_to_wire
from controlplane.rpc.fleet_inside_codec import (
    SOURCES,
    bill_to_wire,
    inside_to_wire,
    residency_to_wire,
    shape_to_wire,
)
from controlplane.rpc.timestamps import to_wire
from controlplane.runtime.inflight import Inflight
from controlplane.services.describe_engine import describe_engine
from controlplane.services.describe_model import describe_model

STATES = {
    EngineState.STARTING: fleet_pb2.ENGINE_STATE_STARTING,
    EngineState.READY: fleet_pb2.ENGINE_STATE_READY,
    EngineState.DRAINING: fleet_pb2.ENGINE_STATE_DRAINING,
    EngineState.STOPPING: fleet_pb2.ENGINE_STATE_STOPPING,
    EngineState.STOPPED: fleet_pb2.ENGINE_STATE_STOPPED,
    EngineState.BACKING_OFF: fleet_pb2.ENGINE_STATE_BACKING_OFF,
    EngineState.FAILED: fleet_pb2.ENGINE_STATE_FAILED,
}
TRUSTS = {Trust.FRESH: fleet_pb2.TRUST_FRESH, Trust.AGEING: fleet_pb2.TRUST_AGEING, Trust.STALE: fleet_pb2.TRUST_STALE}
_FIGURE_SOURCES = {
    FigureSource.PLUGIN: operator_pb2.FIGURE_SOURCE_PLUGIN,
    FigureSource.METRICS: operator_pb2.FIGURE_SOURCE_METRICS,
}
_DESIRED = {
    DesiredState.RUNNING: operator_pb2.DESIRED_STATE_RUNNING,
    DesiredState.DRAINED: operator_pb2.DESIRED_STATE_DRAINED,
    DesiredState.REMOVED: operator_pb2.DESIRED_STATE_REMOVED,
}


def node_to_wire(snapshot: FleetSnapshot, name: str) -> operator_pb2.Node:
    """One node's row. KeyError when the snapshot has none of that name."""
    enrolled = snapshot.desired.nodes[name]
    observed = snapshot.nodes[name]
    return operator_pb2.Node(
        name=name,
        provider=enrolled.location.provider,
        region=enrolled.location.region,
        zone=enrolled.location.zone,
        labels=dict(enrolled.location.labels),
        agent_version=observed.facts.agent_version,
        connected=observed.connected,
        cordoned=enrolled.cordoned,
        cordon_reason=enrolled.cordon_reason,
        trust=TRUSTS[observed.trust],
        last_report_at=to_wire(observed.last_report_at),
        devices=[device_to_wire(device) for device in observed.facts.devices],
        clock_error_seconds=observed.clock_error_seconds,
        os=observed.facts.os,
        certificate_not_after=to_wire(enrolled.certificate_not_after),
        health=[health_to_wire(health) for health in observed.health],
        memory=[memory_to_wire(ledger) for ledger in observed.memory],
        simulated=bool(enrolled.simulated_by),
    )


def placement_to_wire(placement: Placement, engine: EngineObserved | None) -> operator_pb2.Placement:
    return operator_pb2.Placement(
        placement_id=placement.placement_id,
        deployment=placement.deployment.name,
        model=placement.deployment.model,
        node=placement.node,
        device_ids=placement.device_ids,
        generation=placement.generation,
        observed_generation=engine.report.generation if engine is not None else None,
        desired=_DESIRED[placement.desired],
        source=placement.deployment.source,
        engine_args=placement.deployment.engine_args,
        created_at=to_wire(placement.created_at),
        created_by=placement.created_by,
    )


def engine_to_wire(
    snapshot: FleetSnapshot,
    engine_id: str,
    inflight: Inflight,
    now: datetime,
    residency: ResidencyHeld | None = None,
) -> operator_pb2.Engine:
    """One engine's row. KeyError when the snapshot has none of that id. `residency`: what we hold of its prefixes."""
    engine = snapshot.engines[engine_id]
    enrolled = snapshot.desired.nodes.get(engine.node)
    node = snapshot.nodes.get(engine.node)
    described = describe_engine(snapshot, engine, now)
    return operator_pb2.Engine(
        status=_status(engine.report),
        node=engine.node,
        provider=enrolled.location.provider if enrolled else "",
        region=enrolled.location.region if enrolled else "",
        trust=TRUSTS[node.trust] if node else fleet_pb2.TRUST_STALE,
        last_report_at=None if engine.restored else to_wire(engine.received_at),
        working_point=_working_point(engine.working_point) if engine.working_point else None,
        ridge_flops_per_byte=described.ridge_flops_per_byte,
        ridge_source=SOURCES[described.ridge_source],
        inflight_count=inflight.count(engine_id),
        routable=described.routable,
        not_routable_reason=described.not_routable_reason,
        residency_agrees=residency.agrees if residency is not None else None,
        residency_chunks_count=residency.chunks if residency is not None else None,
    )


def _status(report: EngineReport) -> fleet_pb2.EngineStatus:
    gauges, counters = report.gauges, report.counters
    return fleet_pb2.EngineStatus(
        engine_id=report.engine_id,
        generation=report.generation,
        instance_id=report.instance_id,
        model=report.model,
        state=STATES[report.state],
        stage=report.stage,
        reason=report.reason,
        log_tail=report.log_tail,
        endpoint=report.endpoint,
        device_ids=report.device_ids,
        engine_version=report.engine_version,
        restart_count=report.restart_count,
        state_since=to_wire(report.state_since),
        retry_at=to_wire(report.retry_at),
        context_tokens_max=report.context_tokens_max,
        served_paths=report.served_paths,
        dtype=report.dtype,
        gauges=fleet_pb2.EngineGauges(
            kv_capacity_tokens=gauges.kv_capacity_tokens,
            kv_used_tokens=gauges.kv_used_tokens,
            running_count=gauges.running,
            waiting_count=gauges.waiting,
        ),
        counters=fleet_pb2.EngineCounters(
            prompt_tokens_total=counters.prompt_tokens,
            generation_tokens_total=counters.generation_tokens,
            steps_total=counters.steps,
            step_tokens_total=counters.step_tokens,
            prefix_query_tokens_total=counters.prefix_query_tokens,
            prefix_hit_tokens_total=counters.prefix_hit_tokens,
            preemptions_total=counters.preemptions,
            requests_finished_total=counters.requests_finished,
            flops_total=counters.flops,
            bytes_total=counters.bytes,
            ttft_seconds=_histogram(counters.ttft_seconds),
            inter_token_seconds=_histogram(counters.inter_token_seconds),
        ),
        measured_at=to_wire(report.measured_at),
        pid=report.pid,
        shape=shape_to_wire(report.shape),
        inside=inside_to_wire(report.inside),
        recompute=[bill_to_wire(bill) for bill in report.recompute],
        residency=residency_to_wire(report.residency),
        adapters=report.adapters,
    )


def _histogram(histogram: Histogram | None) -> fleet_pb2.Histogram | None:
    if histogram is None:
        return None
    return fleet_pb2.Histogram(upper_bounds=histogram.upper_bounds, counts=histogram.counts, sum=histogram.sum)


def _working_point(point: WorkingPoint) -> operator_pb2.WorkingPoint:
    return operator_pb2.WorkingPoint(
        window_seconds=point.window_seconds,
        batch_tokens_per_step=point.batch_tokens_per_step,
        prompt_tokens_per_second=point.prompt_tokens_per_second,
        generation_tokens_per_second=point.generation_tokens_per_second,
        flops_per_second=point.flops_per_second,
        bytes_per_second=point.bytes_per_second,
        intensity_flops_per_byte=point.intensity_flops_per_byte,
        prefix_hit_ratio=point.prefix_hit_ratio,
        ttft_seconds_p50=point.ttft_seconds_p50,
        ttft_seconds_p95=point.ttft_seconds_p95,
        inter_token_seconds_p50=point.inter_token_seconds_p50,
        inter_token_seconds_p95=point.inter_token_seconds_p95,
        preemptions_per_second=point.preemptions_per_second,
        source=_FIGURE_SOURCES[point.source],
        running_count_mean=point.running_per_step,
        prefill_tokens_per_second=point.prefill_tokens_per_second,
        decode_tokens_per_second=point.decode_tokens_per_second,
        busy_ratio=point.busy_ratio,
    )


def model_to_wire(snapshot: FleetSnapshot, model: str, now: datetime) -> operator_pb2.Model:
    described = describe_model(snapshot, model, now)
    return operator_pb2.Model(
        name=model,
        engines_total=described.engines_total,
        engines_routable=described.engines_routable,
        kv_capacity_tokens=described.kv_capacity_tokens,
        kv_used_tokens=described.kv_used_tokens,
        waiting_count=described.waiting,
        providers=described.providers,
    )


def event_to_wire(event: FleetEvent) -> operator_pb2.Event:
    return operator_pb2.Event(
        event_id=event.event_id,
        at=to_wire(event.at),
        severity=SEVERITIES[event.severity],
        kind=event.kind,
        message=event.message,
        node=event.node,
        engine_id=event.engine_id,
        model=event.model,
        actor=event.actor,
        device_id=event.device_id,
        action=event.action,
    )


def history_row_to_wire(row: EngineHistoryRow) -> operator_pb2.EngineHistoryRow:
    return operator_pb2.EngineHistoryRow(
        bucket_at=to_wire(row.bucket_at),
        engine_id=row.engine_id,
        node=row.node,
        provider=row.provider,
        region=row.region,
        model=row.model,
        samples_count=row.samples_count,
        kv_used_ratio_max=row.kv_used_ratio_max,
        kv_used_ratio_mean=row.kv_used_ratio_mean,
        running_count_mean=row.running_count_mean,
        waiting_count_max=row.waiting_count_max,
        prompt_tokens=row.prompt_tokens,
        generation_tokens=row.generation_tokens,
        batch_tokens_per_step=row.batch_tokens_per_step,
        intensity_flops_per_byte=row.intensity_flops_per_byte,
        prefix_hit_ratio=row.prefix_hit_ratio,
        preemptions_count=row.preemptions_count,
        ttft_seconds_mean=row.ttft_seconds_mean,
    )
