"""From rows back to the wire: what the fake operator service sends. The mirror image of `console.link.codec`.

Also `diff`: the update that leads from one view to the next.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from console.model import answers, hardware, inside
from console.model import fleet_view as rows
from console.model.apply import FleetUpdate
from controlplane.proto.stoker.v1 import fleet_pb2, operator_pb2

Row = TypeVar("Row")
M = TypeVar("M", bound=Message)


def stamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    made = Timestamp()
    made.FromDatetime(at)
    return made


def whole_update(view: rows.FleetView) -> FleetUpdate:
    """The view as one update that resets."""
    return FleetUpdate(
        boot_id=view.boot_id,
        cursor=view.cursor,
        reset=True,
        now=view.now,
        nodes=tuple(view.nodes.values()),
        placements=tuple(view.placements.values()),
        engines=tuple(view.engines.values()),
        models=tuple(view.models.values()),
        events=view.events,
        server=view.server,
    )


def diff(before: rows.FleetView, after: rows.FleetView) -> FleetUpdate:
    known = {event.event_id for event in before.events}
    return FleetUpdate(
        boot_id=after.boot_id,
        cursor=after.cursor,
        now=after.now,
        nodes=_changed(before.nodes, after.nodes),
        removed_nodes=_removed(before.nodes, after.nodes),
        placements=_changed(before.placements, after.placements),
        removed_placements=_removed(before.placements, after.placements),
        engines=_changed(before.engines, after.engines),
        removed_engines=_removed(before.engines, after.engines),
        models=_changed(before.models, after.models),
        removed_models=_removed(before.models, after.models),
        events=tuple(event for event in after.events if event.event_id not in known),
        server=after.server if after.server != before.server else None,
    )


def _changed(before: Mapping[str, Row], after: Mapping[str, Row]) -> tuple[Row, ...]:
    return tuple(row for name, row in after.items() if before.get(name) != row)


def _removed(before: Mapping[str, Row], after: Mapping[str, Row]) -> tuple[str, ...]:
    return tuple(name for name in before if name not in after)


def update_to_wire(update: FleetUpdate) -> operator_pb2.FleetUpdate:
    return operator_pb2.FleetUpdate(
        boot_id=update.boot_id,
        cursor=update.cursor,
        reset=update.reset,
        now=stamp(update.now),
        nodes=map(_node, update.nodes),
        removed_nodes=update.removed_nodes,
        placements=map(_placement, update.placements),
        removed_placements=update.removed_placements,
        engines=map(_engine, update.engines),
        removed_engines=update.removed_engines,
        models=map(_model, update.models),
        removed_models=update.removed_models,
        events=map(event_to_wire, update.events),
        server=server_to_wire(update.server) if update.server else None,
    )


def _number(enum: object, prefix: str, value: str) -> int:
    """0, the unspecified one, for what the wire does not know."""
    return int(dict(enum.items()).get(f"{prefix}_{value.upper()}", 0))  # type: ignore[attr-defined]


def _node(row: rows.NodeRow) -> operator_pb2.Node:
    return operator_pb2.Node(
        name=row.name,
        provider=row.provider,
        region=row.region,
        zone=row.zone,
        labels=dict(row.labels),
        agent_version=row.agent_version,
        connected=row.connected,
        cordoned=row.cordoned,
        cordon_reason=row.cordon_reason,
        trust=_number(fleet_pb2.Trust, "TRUST", row.trust.value),  # type: ignore[arg-type]
        last_report_at=stamp(row.last_report_at),
        devices=map(_device, row.devices),
        clock_error_seconds=row.clock_error_seconds,
        os=row.os,
        certificate_not_after=stamp(row.certificate_not_after),
        health=map(_health, row.health),
        memory=map(_memory, row.memory),
        simulated=row.simulated,
    )


def _same_names(kind: type[M], row: object) -> M:
    """A message whose fields are called as the row's; what is None is left unset."""
    values = {each.name: getattr(row, each.name) for each in fields(row)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if value is not None})


def _source(value: str) -> int:
    return _number(fleet_pb2.Source, "SOURCE", value)


def _inside(row: inside.InsideRow) -> fleet_pb2.EngineInside:
    return fleet_pb2.EngineInside(
        state=_number(fleet_pb2.InsideState, "INSIDE_STATE", row.state.value),  # type: ignore[arg-type]
        note=row.note,
        plugin_version=row.plugin_version,
        steps=_same_names(fleet_pb2.StepTotals, row.steps) if row.steps else None,
        measured_at=stamp(row.measured_at),
        records_dropped_total=row.records_dropped_total,
    )


def _bill(row: inside.BillRow) -> fleet_pb2.RecomputeBill:
    return _same_names(fleet_pb2.RecomputeBill, replace(row, seconds_source=_source(row.seconds_source)))  # type: ignore[arg-type]


def _health(row: hardware.DeviceHealthRow) -> fleet_pb2.DeviceHealth:
    faults = (
        fleet_pb2.Fault(
            kind=fault.kind,
            severity=_number(fleet_pb2.Severity, "SEVERITY", fault.severity),  # type: ignore[arg-type]
            message=fault.message,
            action=fault.action,
            since=stamp(fault.since),
        )
        for fault in row.faults
    )
    plain = replace(row, measured_at=stamp(row.measured_at), faults=tuple(faults))  # type: ignore[arg-type]
    return _same_names(fleet_pb2.DeviceHealth, plain)


def _memory(row: hardware.MemoryLedgerRow) -> fleet_pb2.MemoryLedger:
    return fleet_pb2.MemoryLedger(
        device_id=row.device_id,
        measured_at=stamp(row.measured_at),
        total_bytes=row.total_bytes,
        portions=(
            fleet_pb2.MemoryPortion(
                use=_number(fleet_pb2.MemoryUse, "MEMORY_USE", each.use),  # type: ignore[arg-type]
                bytes=each.bytes,
                source=_source(each.source),  # type: ignore[arg-type]
                engine_id=each.engine_id,
            )
            for each in row.portions
        ),
        headroom=(
            _same_names(fleet_pb2.KvHeadroom, replace(each, source=_source(each.source)))  # type: ignore[arg-type]
            for each in row.headroom
        ),
    )


def _device(row: rows.DeviceRow) -> fleet_pb2.Device:
    return fleet_pb2.Device(
        device_id=row.device_id,
        kind=row.kind,
        family=row.family,
        memory_bytes=row.memory_bytes,
        driver_version=row.driver_version,
        compute_capability=row.compute_capability,
        ceilings=(
            fleet_pb2.Ceiling(
                dtype=each.dtype,
                flops_per_second=each.flops_per_second,
                bytes_per_second=each.bytes_per_second,
                source=_number(fleet_pb2.Source, "SOURCE", each.source),  # type: ignore[arg-type]
                measured_at=stamp(each.measured_at),
                disturbed=each.disturbed,
            )
            for each in row.ceilings
        ),
        uuid=row.uuid,
    )


def _engine(row: rows.EngineRow) -> operator_pb2.Engine:
    status = fleet_pb2.EngineStatus(
        engine_id=row.engine_id,
        model=row.model,
        state=_number(fleet_pb2.EngineState, "ENGINE_STATE", row.state.value),  # type: ignore[arg-type]
        stage=row.stage,
        reason=row.reason,
        log_tail=row.log_tail,
        endpoint=row.endpoint,
        device_ids=row.device_ids,
        engine_version=row.engine_version,
        restart_count=row.restart_count,
        state_since=stamp(row.state_since),
        retry_at=stamp(row.retry_at),
        context_tokens_max=row.context_tokens_max,
        dtype=row.dtype,
        gauges=fleet_pb2.EngineGauges(
            kv_capacity_tokens=row.kv_capacity_tokens,
            kv_used_tokens=row.kv_used_tokens,
            running_count=row.running,
            waiting_count=row.waiting,
        ),
        counters=fleet_pb2.EngineCounters(
            prompt_tokens_total=row.prompt_tokens_total,
            generation_tokens_total=row.generation_tokens_total,
            preemptions_total=row.preemptions_total,
            requests_finished_total=row.requests_finished_total,
        ),
        measured_at=stamp(row.measured_at),
        shape=_same_names(fleet_pb2.ModelShape, row.shape) if row.shape else None,
        inside=_inside(row.inside) if row.inside else None,
        recompute=map(_bill, row.recompute),
        residency=_same_names(fleet_pb2.ResidencySummary, row.residency) if row.residency else None,
        adapters=row.adapters,
    )
    return operator_pb2.Engine(
        status=status,
        node=row.node,
        provider=row.provider,
        region=row.region,
        trust=_number(fleet_pb2.Trust, "TRUST", row.trust.value),  # type: ignore[arg-type]
        last_report_at=stamp(row.last_report_at),
        working_point=_working_point(row.working_point) if row.working_point else None,
        ridge_flops_per_byte=row.ridge_flops_per_byte,
        ridge_source=_number(fleet_pb2.Source, "SOURCE", row.ridge_source),  # type: ignore[arg-type]
        inflight_count=row.inflight,
        routable=row.routable,
        not_routable_reason=row.not_routable_reason,
        residency_agrees=row.residency_agrees,
        residency_chunks_count=row.residency_held_chunks_count,
    )


def _working_point(row: rows.WorkingPointRow) -> operator_pb2.WorkingPoint:
    return operator_pb2.WorkingPoint(
        window_seconds=row.window_seconds,
        batch_tokens_per_step=row.batch_tokens_per_step,
        prompt_tokens_per_second=row.prompt_tokens_per_second,
        generation_tokens_per_second=row.generation_tokens_per_second,
        flops_per_second=row.flops_per_second,
        bytes_per_second=row.bytes_per_second,
        intensity_flops_per_byte=row.intensity_flops_per_byte,
        prefix_hit_ratio=row.prefix_hit_ratio,
        ttft_seconds_p50=row.ttft_seconds_p50,
        ttft_seconds_p95=row.ttft_seconds_p95,
        inter_token_seconds_p50=row.inter_token_seconds_p50,
        inter_token_seconds_p95=row.inter_token_seconds_p95,
        preemptions_per_second=row.preemptions_per_second,
        source=_number(operator_pb2.FigureSource, "FIGURE_SOURCE", row.source),  # type: ignore[arg-type]
        running_count_mean=row.running_count_mean,
        prefill_tokens_per_second=row.prefill_tokens_per_second,
        decode_tokens_per_second=row.decode_tokens_per_second,
        busy_ratio=row.busy_ratio,
    )


def _placement(row: rows.PlacementRow) -> operator_pb2.Placement:
    return operator_pb2.Placement(
        placement_id=row.placement_id,
        deployment=row.deployment,
        model=row.model,
        node=row.node,
        device_ids=row.device_ids,
        generation=row.generation,
        observed_generation=row.observed_generation,
        desired=_number(operator_pb2.DesiredState, "DESIRED_STATE", row.desired.value),  # type: ignore[arg-type]
        source=row.source,
        engine_args=row.engine_args,
        created_at=stamp(row.created_at),
        created_by=row.created_by,
    )


def _model(row: rows.ModelRow) -> operator_pb2.Model:
    return operator_pb2.Model(
        name=row.name,
        engines_total=row.engines_total,
        engines_routable=row.engines_routable,
        kv_capacity_tokens=row.kv_capacity_tokens,
        kv_used_tokens=row.kv_used_tokens,
        waiting_count=row.waiting,
        providers=row.providers,
    )


def event_to_wire(row: rows.EventRow) -> operator_pb2.Event:
    return operator_pb2.Event(
        event_id=row.event_id,
        at=stamp(row.at),
        severity=_number(fleet_pb2.Severity, "SEVERITY", row.severity.value),  # type: ignore[arg-type]
        kind=row.kind,
        message=row.message,
        node=row.node,
        engine_id=row.engine_id,
        model=row.model,
        actor=row.actor,
        device_id=row.device_id,
        action=row.action,
    )


def server_to_wire(row: rows.ServerRow) -> operator_pb2.Server:
    return operator_pb2.Server(
        boot_id=row.boot_id,
        version=row.version,
        leader_epoch=row.leader_epoch,
        started_at=stamp(row.started_at),
        database=row.database,
        gateway_address=row.gateway_address,
        gateway_state=row.gateway_state,
        caller_name=row.caller_name,
        caller_role=row.caller_role,
        samples_waiting_count=row.samples_waiting,
        samples_dropped_total=row.samples_dropped_total,
        fresh_seconds=row.fresh_seconds,
        stale_seconds=row.stale_seconds,
        lost_seconds=row.lost_seconds,
        database_away_since=stamp(row.database_away_since),
        database_problem=row.database_problem,
        events_waiting_count=row.events_waiting,
        events_dropped_total=row.events_dropped_total,
    )


def key_to_wire(row: answers.KeyRow) -> operator_pb2.Key:
    return operator_pb2.Key(
        key_id=row.key_id,
        tenant=row.tenant,
        note=row.note,
        created_at=stamp(row.created_at),
        expires_at=stamp(row.expires_at),
        revoked_at=stamp(row.revoked_at),
        created_by=row.created_by,
    )


def history_row_to_wire(row: answers.EngineHistoryRow) -> operator_pb2.EngineHistoryRow:
    figures = {each.name: getattr(row, each.name) for each in fields(row) if each.name != "bucket_at"}
    return operator_pb2.EngineHistoryRow(bucket_at=stamp(row.bucket_at), **figures)
