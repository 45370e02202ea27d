"""Devices and engines as the wire tells them. Called by `codec` only; never raises, leaves what is unknown unset."""

from controlplane.proto.stoker.v1 import fleet_pb2
from node_agent.link.codec_inside import inside_message, recompute_messages, residency_message, shape_message
from node_agent.link.codec_values import SOURCES, real, text, texts, timestamp, whole
from node_agent.session.facts import Ceiling, Device, EngineCounters, EngineGauges, EngineState, EngineStatus, Histogram

LOG_TAIL_LINES_MAX = 100

_STATES = {
    EngineState.STARTING: fleet_pb2.ENGINE_STATE_STARTING,
    EngineState.READY: fleet_pb2.ENGINE_STATE_READY,
    EngineState.DRAINING: fleet_pb2.ENGINE_STATE_DRAINING,
    EngineState.STOPPING: fleet_pb2.ENGINE_STATE_STOPPING,
    EngineState.STOPPED: fleet_pb2.ENGINE_STATE_STOPPED,
    EngineState.BACKING_OFF: fleet_pb2.ENGINE_STATE_BACKING_OFF,
    EngineState.FAILED: fleet_pb2.ENGINE_STATE_FAILED,
}


def device_message(device: Device) -> fleet_pb2.Device:
    return fleet_pb2.Device(
        device_id=text(device.device_id),
        kind=text(device.kind),
        family=text(device.family),
        memory_bytes=whole(device.memory_bytes),
        driver_version=text(device.driver_version),
        compute_capability=text(device.compute_capability),
        ceilings=[_ceiling(ceiling) for ceiling in device.ceilings],
        uuid=text(device.uuid),
    )


def engine_message(engine: EngineStatus) -> fleet_pb2.EngineStatus:
    return fleet_pb2.EngineStatus(
        engine_id=text(engine.engine_id),
        generation=whole(engine.generation) or 0,
        instance_id=text(engine.instance_id),
        model=text(engine.model),
        state=_STATES[engine.state],
        stage=text(engine.stage),
        reason=text(engine.reason),
        log_tail=texts(engine.log_tail[-LOG_TAIL_LINES_MAX:]),
        endpoint=text(engine.endpoint),
        device_ids=texts(engine.device_ids),
        engine_version=text(engine.engine_version),
        restart_count=whole(engine.restart_count, bits=32) or 0,
        state_since=timestamp(engine.state_since),
        retry_at=timestamp(engine.retry_at),
        context_tokens_max=whole(engine.context_tokens_max),
        served_paths=texts(engine.served_paths),
        dtype=text(engine.dtype),
        gauges=gauges_message(engine.gauges),
        counters=counters_message(engine.counters),
        measured_at=timestamp(engine.measured_at),
        pid=whole(engine.pid, bits=32) or 0,
        shape=shape_message(engine.shape),
        inside=inside_message(engine.inside),
        recompute=recompute_messages(engine.recompute),
        residency=residency_message(engine.residency),
        adapters=texts(engine.adapters),
    )


def _ceiling(ceiling: Ceiling) -> fleet_pb2.Ceiling:
    return fleet_pb2.Ceiling(
        dtype=text(ceiling.dtype),
        flops_per_second=real(ceiling.flops_per_second),
        bytes_per_second=real(ceiling.bytes_per_second),
        source=SOURCES[ceiling.source],
        measured_at=timestamp(ceiling.measured_at),
        disturbed=ceiling.disturbed,
    )


def gauges_message(gauges: EngineGauges) -> fleet_pb2.EngineGauges:
    return fleet_pb2.EngineGauges(
        kv_capacity_tokens=whole(gauges.kv_capacity_tokens),
        kv_used_tokens=whole(gauges.kv_used_tokens),
        running_count=whole(gauges.running, bits=32),
        waiting_count=whole(gauges.waiting, bits=32),
    )


def counters_message(counters: EngineCounters) -> fleet_pb2.EngineCounters:
    return fleet_pb2.EngineCounters(
        prompt_tokens_total=whole(counters.prompt_tokens),
        generation_tokens_total=whole(counters.generation_tokens),
        steps_total=whole(counters.steps),
        step_tokens_total=whole(counters.step_tokens),
        prefix_query_tokens_total=whole(counters.prefix_query_tokens),
        prefix_hit_tokens_total=whole(counters.prefix_hit_tokens),
        preemptions_total=whole(counters.preemptions),
        requests_finished_total=whole(counters.requests_finished),
        flops_total=real(counters.flops),
        bytes_total=real(counters.bytes),
        ttft_seconds=histogram_message(counters.ttft_seconds),
        inter_token_seconds=histogram_message(counters.inter_token_seconds),
    )


def histogram_message(histogram: Histogram | None) -> fleet_pb2.Histogram | None:
    """A histogram with one bad number is none at all: half a distribution misleads."""
    if histogram is None or len(histogram.counts) != len(histogram.upper_bounds) + 1:
        return None
    counts = [whole(count) for count in histogram.counts]
    bounds = [real(bound) for bound in histogram.upper_bounds]
    total = real(histogram.sum)
    known_counts = [count for count in counts if count is not None]
    known_bounds = [bound for bound in bounds if bound is not None]
    if len(known_counts) != len(counts) or len(known_bounds) != len(bounds) or total is None:
        return None
    return fleet_pb2.Histogram(upper_bounds=known_bounds, counts=known_counts, sum=total)
