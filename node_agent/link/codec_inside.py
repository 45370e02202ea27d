"""What is known from inside an engine, as the wire tells it: its model's shape, its steps, its recompute bill, its prefixes.

Called by `codec_engines` only. Never raises, leaves what is unknown unset, and bounds what grows with tenants.
"""

from controlplane.proto.stoker.v1 import fleet_pb2
from node_agent.link.codec_values import SOURCES, real, text, timestamp, whole
from node_agent.session.inside import EngineInside, InsideState, ModelShape, RecomputeBill, ResidencySummary, StepTotals

TENANTS_MAX = 64

_STATES = {
    InsideState.ACTIVE: fleet_pb2.INSIDE_STATE_ACTIVE,
    InsideState.DEGRADED: fleet_pb2.INSIDE_STATE_DEGRADED,
    InsideState.SILENT: fleet_pb2.INSIDE_STATE_SILENT,
}


def shape_message(shape: ModelShape | None) -> fleet_pb2.ModelShape | None:
    if shape is None:
        return None
    return fleet_pb2.ModelShape(
        parameters_count=whole(shape.parameters),
        active_parameters_count=whole(shape.active_parameters),
        layers_count=whole(shape.layers, bits=32),
        hidden_size=whole(shape.hidden_size, bits=32),
        attention_heads_count=whole(shape.attention_heads, bits=32),
        kv_heads_count=whole(shape.kv_heads, bits=32),
        head_size=whole(shape.head_size, bits=32),
        vocabulary_size=whole(shape.vocabulary_size, bits=32),
        weights_bytes=whole(shape.weights_bytes),
        kv_block_tokens=whole(shape.kv_block_tokens, bits=32),
        kv_blocks_count=whole(shape.kv_blocks, bits=32),
        kv_bytes_per_token=real(shape.kv_bytes_per_token),
        sequences_max=whole(shape.sequences_max, bits=32),
        batched_tokens_max=whole(shape.batched_tokens_max, bits=32),
        tensor_parallel=whole(shape.tensor_parallel, bits=32),
    )


def inside_message(inside: EngineInside | None) -> fleet_pb2.EngineInside | None:
    if inside is None:
        return None
    return fleet_pb2.EngineInside(
        state=_STATES[inside.state],
        note=text(inside.note),
        plugin_version=text(inside.plugin_version),
        steps=_steps(inside.steps),
        measured_at=timestamp(inside.measured_at),
        records_dropped_total=whole(inside.records_dropped) or 0,
    )


def _steps(steps: StepTotals | None) -> fleet_pb2.StepTotals | None:
    """Totals with one figure that is none are not told at all: the wire's fields cannot say which one is missing."""
    if steps is None:
        return None
    wholes = {
        "steps_total": whole(steps.steps),
        "prefill_tokens_total": whole(steps.prefill_tokens),
        "decode_tokens_total": whole(steps.decode_tokens),
        "running_total": whole(steps.running),
        "waiting_total": whole(steps.waiting),
        "preemptions_total": whole(steps.preemptions),
    }
    reals = {
        "flops_total": real(steps.flops),
        "read_bytes_total": real(steps.read_bytes),
        "write_bytes_total": real(steps.write_bytes),
        "busy_seconds_total": real(steps.busy_seconds),
        "prefill_flops_total": real(steps.prefill_flops),
        "prefill_seconds_total": real(steps.prefill_seconds),
    }
    if None in wholes.values() or None in reals.values():
        return None
    message = fleet_pb2.StepTotals()
    for name, value in {**wholes, **reals}.items():
        setattr(message, name, value)
    return message


def recompute_messages(bills: tuple[RecomputeBill, ...]) -> list[fleet_pb2.RecomputeBill]:
    return [
        fleet_pb2.RecomputeBill(
            tenant=text(bill.tenant),
            tokens_total=whole(bill.tokens) or 0,
            flops_total=real(bill.flops),
            seconds_total=real(bill.seconds),
            seconds_source=SOURCES[bill.seconds_source],
        )
        for bill in bills[:TENANTS_MAX]
    ]


def residency_message(residency: ResidencySummary | None) -> fleet_pb2.ResidencySummary | None:
    if residency is None:
        return None
    return fleet_pb2.ResidencySummary(
        version=whole(residency.version) or 0,
        chunks_count=whole(residency.chunks) or 0,
        blocks_count=whole(residency.blocks) or 0,
        checksum=residency.checksum % 2**64,
        complete=residency.complete,
    )
