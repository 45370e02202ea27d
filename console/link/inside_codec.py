"""From the wire to rows: what is known from inside engines. Called by `console.link.codec`; only translates."""

from console.link.fields import SOURCES, moment, real, whole
from console.model.inside import BillRow, InsideRow, InsideState, ModelShapeRow, ResidencyRow, StepTotalsRow
from controlplane.proto.stoker.v1 import fleet_pb2

_STATES = {
    fleet_pb2.INSIDE_STATE_ACTIVE: InsideState.ACTIVE,
    fleet_pb2.INSIDE_STATE_DEGRADED: InsideState.DEGRADED,
    fleet_pb2.INSIDE_STATE_SILENT: InsideState.SILENT,
}


def shape_from_wire(status: fleet_pb2.EngineStatus) -> ModelShapeRow | None:
    if not status.HasField("shape"):
        return None
    shape = status.shape
    return ModelShapeRow(
        parameters_count=whole(shape, "parameters_count"),
        active_parameters_count=whole(shape, "active_parameters_count"),
        layers_count=whole(shape, "layers_count"),
        hidden_size=whole(shape, "hidden_size"),
        attention_heads_count=whole(shape, "attention_heads_count"),
        kv_heads_count=whole(shape, "kv_heads_count"),
        head_size=whole(shape, "head_size"),
        vocabulary_size=whole(shape, "vocabulary_size"),
        weights_bytes=whole(shape, "weights_bytes"),
        kv_block_tokens=whole(shape, "kv_block_tokens"),
        kv_blocks_count=whole(shape, "kv_blocks_count"),
        kv_bytes_per_token=real(shape, "kv_bytes_per_token"),
        sequences_max=whole(shape, "sequences_max"),
        batched_tokens_max=whole(shape, "batched_tokens_max"),
        tensor_parallel=whole(shape, "tensor_parallel"),
    )


def inside_from_wire(status: fleet_pb2.EngineStatus) -> InsideRow | None:
    if not status.HasField("inside"):
        return None
    inside = status.inside
    return InsideRow(
        state=_STATES.get(inside.state, InsideState.UNKNOWN),
        note=inside.note,
        plugin_version=inside.plugin_version,
        steps=_steps(inside.steps) if inside.HasField("steps") else None,
        measured_at=moment(inside, "measured_at"),
        records_dropped_total=inside.records_dropped_total,
    )


def _steps(steps: fleet_pb2.StepTotals) -> StepTotalsRow:
    return StepTotalsRow(
        steps_total=steps.steps_total,
        prefill_tokens_total=steps.prefill_tokens_total,
        decode_tokens_total=steps.decode_tokens_total,
        running_total=steps.running_total,
        waiting_total=steps.waiting_total,
        flops_total=steps.flops_total,
        read_bytes_total=steps.read_bytes_total,
        write_bytes_total=steps.write_bytes_total,
        busy_seconds_total=steps.busy_seconds_total,
        preemptions_total=steps.preemptions_total,
        prefill_flops_total=steps.prefill_flops_total,
        prefill_seconds_total=steps.prefill_seconds_total,
    )


def bill_from_wire(bill: fleet_pb2.RecomputeBill) -> BillRow:
    return BillRow(
        tenant=bill.tenant,
        tokens_total=bill.tokens_total,
        flops_total=real(bill, "flops_total"),
        seconds_total=real(bill, "seconds_total"),
        seconds_source=SOURCES.get(bill.seconds_source, ""),
    )


def residency_from_wire(status: fleet_pb2.EngineStatus) -> ResidencyRow | None:
    if not status.HasField("residency"):
        return None
    residency = status.residency
    return ResidencyRow(residency.version, residency.chunks_count, residency.blocks_count, residency.complete)
