"""The fleet as it was, to the wire: in the words of the fleet now, so that the same eyes can read it.

Called by `rpc.operator_service`. What history does not know stays unset.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby

from controlplane.fleet.observed import EngineState
from controlplane.fleet.past import PastDevice, PastEngine, PastFleet, PastNode
from controlplane.proto.stoker.v1 import fleet_pb2, operator_pb2
from controlplane.rpc.fleet_codec import STATES, TRUSTS, event_to_wire
from controlplane.rpc.timestamps import to_wire


def past_to_wire(past: PastFleet, unknown: Iterable[str]) -> operator_pb2.FleetAtResponse:
    at_node: dict[str, list[PastDevice]] = defaultdict(list)
    for device in past.devices:
        at_node[device.node].append(device)
    trusts = {node.node: _trust(node.trust) for node in past.nodes}
    by_model = sorted(past.engines, key=lambda engine: engine.model)
    fleet = operator_pb2.FleetUpdate(
        reset=True,
        now=to_wire(past.ends_at),
        nodes=[_node(past, node, at_node[node.node]) for node in past.nodes],
        engines=[_engine(past, engine, trusts.get(engine.node), at_node[engine.node]) for engine in past.engines],
        models=[_model(name, list(engines)) for name, engines in groupby(by_model, key=lambda engine: engine.model)],
        events=[event_to_wire(event) for event in past.events],
    )
    return operator_pb2.FleetAtResponse(fleet=fleet, resolution_seconds=past.resolution_seconds, unknown=unknown)


def _node(past: PastFleet, node: PastNode, devices: list[PastDevice]) -> operator_pb2.Node:
    return operator_pb2.Node(
        name=node.node,
        provider=node.provider,
        region=node.region,
        agent_version=node.agent_version,
        connected=node.connected,
        cordoned=node.cordoned,
        trust=_trust(node.trust),
        last_report_at=to_wire(past.ends_at) if node.connected else None,
        devices=[_device(device) for device in devices],
        health=[
            fleet_pb2.DeviceHealth(
                device_id=device.device_id,
                measured_at=to_wire(past.ends_at),
                memory_used_bytes=device.memory_used_bytes_max,
                power_watts=device.power_watts_mean,
                temperature_celsius=device.temperature_celsius_max,
            )
            for device in devices
        ],
        clock_error_seconds=node.clock_error_seconds,
        simulated=node.simulated,
    )


def _device(device: PastDevice) -> fleet_pb2.Device:
    return fleet_pb2.Device(device_id=device.device_id, kind=device.device_kind, memory_bytes=device.memory_total_bytes)


def _engine(
    past: PastFleet, engine: PastEngine, trust: "fleet_pb2.Trust.ValueType | None", devices: list[PastDevice]
) -> operator_pb2.Engine:
    ratio, capacity = engine.kv_used_ratio_mean, engine.kv_capacity_tokens
    gauges = fleet_pb2.EngineGauges(
        kv_capacity_tokens=capacity,
        kv_used_tokens=round(ratio * capacity) if ratio is not None and capacity is not None else None,
        running_count=_whole(engine.running_count_mean),
        waiting_count=_whole(engine.waiting_count_mean),
    )
    status = fleet_pb2.EngineStatus(
        engine_id=engine.engine_id,
        model=engine.model,
        state=_state(engine.state),
        device_ids=[device.device_id for device in devices if device.engine_id == engine.engine_id],
        gauges=gauges,
        measured_at=to_wire(past.ends_at),
    )
    return operator_pb2.Engine(
        status=status,
        node=engine.node,
        provider=engine.provider,
        region=engine.region,
        trust=fleet_pb2.TRUST_UNSPECIFIED if trust is None else trust,
        last_report_at=to_wire(past.ends_at),
        working_point=_working_point(engine),
        inflight_count=_whole(engine.inflight_count_mean) or 0,
        routable=engine.state == EngineState.READY.value,
        not_routable_reason="" if engine.state == EngineState.READY.value else "it was not ready",
    )


def _working_point(engine: PastEngine) -> operator_pb2.WorkingPoint | None:
    seconds = engine.covered_seconds
    if not seconds:
        return None

    def rate(count: float | None) -> float | None:
        return None if count is None else count / seconds

    return operator_pb2.WorkingPoint(
        window_seconds=seconds,
        batch_tokens_per_step=_quotient(engine.step_tokens, engine.steps_count),
        prompt_tokens_per_second=rate(engine.prompt_tokens),
        generation_tokens_per_second=rate(engine.generation_tokens),
        flops_per_second=rate(engine.flops),
        bytes_per_second=rate(engine.bytes),
        intensity_flops_per_byte=_quotient(engine.flops, engine.bytes),
        prefix_hit_ratio=_quotient(engine.prefix_hit_tokens, engine.prefix_query_tokens),
        preemptions_per_second=rate(engine.preemptions_count),
        running_count_mean=engine.running_count_mean,
        busy_ratio=None if engine.busy_seconds is None else min(1.0, engine.busy_seconds / seconds),
    )


def _model(name: str, engines: list[PastEngine]) -> operator_pb2.Model:
    capacities = [engine.kv_capacity_tokens for engine in engines if engine.kv_capacity_tokens is not None]
    waiting = [engine.waiting_count_mean for engine in engines if engine.waiting_count_mean is not None]
    return operator_pb2.Model(
        name=name,
        engines_total=len(engines),
        engines_routable=sum(engine.state == EngineState.READY.value for engine in engines),
        kv_capacity_tokens=sum(capacities) if capacities else None,
        waiting_count=round(sum(waiting)) if waiting else None,
        providers=sorted({engine.provider for engine in engines if engine.provider}),
    )


def _state(word: str) -> "fleet_pb2.EngineState.ValueType":
    known = {state.value: wire for state, wire in STATES.items()}
    return known.get(word, fleet_pb2.ENGINE_STATE_UNSPECIFIED)


def _trust(word: str) -> "fleet_pb2.Trust.ValueType":
    known = {trust.value: wire for trust, wire in TRUSTS.items()}
    return known.get(word, fleet_pb2.TRUST_UNSPECIFIED)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _quotient(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole
