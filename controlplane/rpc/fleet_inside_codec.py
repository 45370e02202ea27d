"""What is known from inside engines, from facts to the wire, for operators. Called by `rpc.fleet_codec`."""

from controlplane.fleet.inside import EngineInside, InsideState, ModelShape, RecomputeBill, ResidencySummary, StepTotals
from controlplane.fleet.sources import Source
from controlplane.proto.stoker.v1 import fleet_pb2
from controlplane.rpc.timestamps import to_wire

SOURCES = {
    None: fleet_pb2.SOURCE_UNSPECIFIED,
    Source.MEASURED: fleet_pb2.SOURCE_MEASURED,
    Source.CONFIGURED: fleet_pb2.SOURCE_CONFIGURED,
    Source.TABLE: fleet_pb2.SOURCE_TABLE,
    Source.ASSUMED: fleet_pb2.SOURCE_ASSUMED,
}
_STATES = {
    InsideState.ACTIVE: fleet_pb2.INSIDE_STATE_ACTIVE,
    InsideState.DEGRADED: fleet_pb2.INSIDE_STATE_DEGRADED,
    InsideState.SILENT: fleet_pb2.INSIDE_STATE_SILENT,
}


def shape_to_wire(shape: ModelShape | None) -> fleet_pb2.ModelShape | None:
    if shape is None:
        return None
    return fleet_pb2.ModelShape(
        parameters_count=shape.parameters,
        active_parameters_count=shape.active_parameters,
        layers_count=shape.layers,
        hidden_size=shape.hidden_size,
        attention_heads_count=shape.attention_heads,
        kv_heads_count=shape.kv_heads,
        head_size=shape.head_size,
        vocabulary_size=shape.vocabulary_size,
        weights_bytes=shape.weights_bytes,
        kv_block_tokens=shape.kv_block_tokens,
        kv_blocks_count=shape.kv_blocks,
        kv_bytes_per_token=shape.kv_bytes_per_token,
        sequences_max=shape.sequences_max,
        batched_tokens_max=shape.batched_tokens_max,
        tensor_parallel=shape.tensor_parallel,
    )


def inside_to_wire(inside: EngineInside | None) -> fleet_pb2.EngineInside | None:
    if inside is None:
        return None
    return fleet_pb2.EngineInside(
        state=_STATES[inside.state],
        note=inside.note,
        plugin_version=inside.plugin_version,
        steps=_steps(inside.steps) if inside.steps is not None else None,
        measured_at=to_wire(inside.measured_at),
        records_dropped_total=inside.records_dropped,
    )


def _steps(steps: StepTotals) -> fleet_pb2.StepTotals:
    return fleet_pb2.StepTotals(
        steps_total=steps.steps,
        prefill_tokens_total=steps.prefill_tokens,
        decode_tokens_total=steps.decode_tokens,
        running_total=steps.running,
        waiting_total=steps.waiting,
        flops_total=steps.flops,
        read_bytes_total=steps.read_bytes,
        write_bytes_total=steps.write_bytes,
        busy_seconds_total=steps.busy_seconds,
        preemptions_total=steps.preemptions,
        prefill_flops_total=steps.prefill_flops,
        prefill_seconds_total=steps.prefill_seconds,
    )


def bill_to_wire(bill: RecomputeBill) -> fleet_pb2.RecomputeBill:
    return fleet_pb2.RecomputeBill(
        tenant=bill.tenant,
        tokens_total=bill.tokens,
        flops_total=bill.flops,
        seconds_total=bill.seconds,
        seconds_source=SOURCES[bill.seconds_source],
    )


def residency_to_wire(residency: ResidencySummary | None) -> fleet_pb2.ResidencySummary | None:
    if residency is None:
        return None
    return fleet_pb2.ResidencySummary(
        version=residency.version,
        chunks_count=residency.chunks,
        blocks_count=residency.blocks,
        checksum=residency.checksum,
        complete=residency.complete,
    )
