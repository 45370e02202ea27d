"""What agents tell from inside an engine, from the wire to facts. Called by `rpc.agent_codec`; bounds everything."""

from collections.abc import Sequence

from controlplane.fleet.inside import EngineInside, InsideState, ModelShape, RecomputeBill, ResidencySummary, StepTotals
from controlplane.fleet.sources import Source
from controlplane.proto.stoker.v1 import fleet_pb2
from controlplane.rpc.bounded import COUNT_MAX, count, number, real, text
from controlplane.rpc.timestamps import from_wire

TENANTS_MAX = 64

SOURCES = {
    fleet_pb2.SOURCE_MEASURED: Source.MEASURED,
    fleet_pb2.SOURCE_CONFIGURED: Source.CONFIGURED,
    fleet_pb2.SOURCE_TABLE: Source.TABLE,
}
_STATES = {
    fleet_pb2.INSIDE_STATE_ACTIVE: InsideState.ACTIVE,
    fleet_pb2.INSIDE_STATE_DEGRADED: InsideState.DEGRADED,
}


def shape_from(status: fleet_pb2.EngineStatus) -> ModelShape | None:
    if not status.HasField("shape"):
        return None
    shape = status.shape
    return ModelShape(
        parameters=count(shape, "parameters_count"),
        active_parameters=count(shape, "active_parameters_count"),
        layers=count(shape, "layers_count"),
        hidden_size=count(shape, "hidden_size"),
        attention_heads=count(shape, "attention_heads_count"),
        kv_heads=count(shape, "kv_heads_count"),
        head_size=count(shape, "head_size"),
        vocabulary_size=count(shape, "vocabulary_size"),
        weights_bytes=count(shape, "weights_bytes"),
        kv_block_tokens=count(shape, "kv_block_tokens"),
        kv_blocks=count(shape, "kv_blocks_count"),
        kv_bytes_per_token=real(shape, "kv_bytes_per_token"),
        sequences_max=count(shape, "sequences_max"),
        batched_tokens_max=count(shape, "batched_tokens_max"),
        tensor_parallel=count(shape, "tensor_parallel"),
    )


def inside_from(status: fleet_pb2.EngineStatus) -> EngineInside | None:
    """A state that this release does not know counts as silent: its figures are not relied on."""
    if not status.HasField("inside"):
        return None
    inside = status.inside
    return EngineInside(
        state=_STATES.get(inside.state, InsideState.SILENT),
        note=text(inside.note, 1000),
        plugin_version=text(inside.plugin_version, 64),
        steps=_steps(inside.steps) if inside.HasField("steps") else None,
        measured_at=from_wire(inside, "measured_at"),
        records_dropped=min(inside.records_dropped_total, COUNT_MAX),
    )


def _steps(steps: fleet_pb2.StepTotals) -> StepTotals | None:
    """None when one of them cannot be: then the others are not to be trusted either."""
    wholes = (
        steps.steps_total,
        steps.prefill_tokens_total,
        steps.decode_tokens_total,
        steps.running_total,
        steps.waiting_total,
        steps.preemptions_total,
    )
    reals = (
        steps.flops_total,
        steps.read_bytes_total,
        steps.write_bytes_total,
        steps.busy_seconds_total,
        steps.prefill_flops_total,
        steps.prefill_seconds_total,
    )
    if any(value > COUNT_MAX for value in wholes) or any(number(value) is None for value in reals):
        return None
    return StepTotals(
        steps=steps.steps_total,
        prefill_tokens=steps.prefill_tokens_total,
        decode_tokens=steps.decode_tokens_total,
        running=steps.running_total,
        waiting=steps.waiting_total,
        flops=steps.flops_total,
        read_bytes=steps.read_bytes_total,
        write_bytes=steps.write_bytes_total,
        busy_seconds=steps.busy_seconds_total,
        preemptions=steps.preemptions_total,
        prefill_flops=steps.prefill_flops_total,
        prefill_seconds=steps.prefill_seconds_total,
    )


def recompute_from(bills: Sequence[fleet_pb2.RecomputeBill]) -> tuple[RecomputeBill, ...]:
    return tuple(
        RecomputeBill(
            tenant=text(bill.tenant, 128),
            tokens=bill.tokens_total,
            flops=real(bill, "flops_total"),
            seconds=real(bill, "seconds_total"),
            seconds_source=SOURCES.get(bill.seconds_source, Source.ASSUMED),
        )
        for bill in bills[:TENANTS_MAX]
        if bill.tokens_total <= COUNT_MAX // TENANTS_MAX
    )


def residency_from(status: fleet_pb2.EngineStatus) -> ResidencySummary | None:
    if not status.HasField("residency"):
        return None
    residency = status.residency
    if max(residency.chunks_count, residency.blocks_count) > COUNT_MAX:
        return None
    return ResidencySummary(
        version=residency.version,
        chunks=residency.chunks_count,
        blocks=residency.blocks_count,
        checksum=residency.checksum,
        complete=residency.complete,
    )
