"""One reading of a node and of its devices as history keeps them, and which engine has which device. Pure.

Called by `services.record_history`. What a silent node has is not known: its counts are None, never what they were.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.desired import DesiredState, EnrolledNode, Placement
from controlplane.fleet.hardware import DeviceHealth, MemoryLedger, MemoryUse
from controlplane.fleet.history import DeviceSample, NodeSample
from controlplane.fleet.observed import Device, EngineReport, EngineState, Trust
from controlplane.fleet.snapshot import NodeObserved

# States in which no process has a device, nor will have it again by itself.
_GONE = (EngineState.STOPPED, EngineState.FAILED)


@dataclass(frozen=True, slots=True)
class Holder:
    """The engine that has a device."""

    engine_id: str
    model: str
    ready: bool = False


def device_holders(
    node: NodeObserved, engines: Iterable[EngineReport], placements: Iterable[Placement]
) -> dict[str, Holder]:
    """By device, of those that an engine has: as engines tell, else where their memory is, else as it was ordered.

    Of several engines on one device the one that serves is named. An engine that was given no device by name, on a node
    with a single one, has that.
    """
    known = {engine.engine_id: engine for engine in engines if engine.state not in _GONE}
    found: dict[str, Holder] = {}
    only = (node.facts.devices[0].device_id,) if len(node.facts.devices) == 1 else ()
    for engine in sorted(known.values(), key=lambda each: each.engine_id) if len(known) > 1 else known.values():
        ready = engine.state is EngineState.READY
        for device_id in engine.device_ids or only:
            if device_id not in found or (ready and not found[device_id].ready):
                found[device_id] = Holder(engine.engine_id, engine.model, ready)
    for ledger in node.memory:
        if ledger.device_id not in found:
            holding = next((part.engine_id for part in ledger.portions if part.engine_id in known), "")
            if holding:
                engine = known[holding]
                found[ledger.device_id] = Holder(holding, engine.model, engine.state is EngineState.READY)
    for placement in placements:
        if placement.desired is DesiredState.RUNNING:
            for device_id in placement.device_ids:
                found.setdefault(device_id, Holder(placement.placement_id, placement.deployment.model))
    return found


def devices_count(engine: EngineReport, holders: Mapping[str, Holder]) -> int | None:
    """How many devices an engine has; None when nothing tells."""
    if engine.device_ids:
        return len(set(engine.device_ids))
    held = sum(1 for holder in holders.values() if holder.engine_id == engine.engine_id)
    if held:
        return held
    return engine.shape.tensor_parallel if engine.shape else None


def device_samples(
    node: NodeObserved,
    enrolled: EnrolledNode,
    holders: Mapping[str, Holder],
    sampled_at: datetime,
    covers_seconds: float | None,
) -> list[DeviceSample]:
    """One for each device that the node has told of."""
    health = {each.device_id: each for each in node.health}
    memory = {each.device_id: each for each in node.memory}
    return [
        _device(
            device,
            enrolled,
            holders.get(device.device_id),
            health.get(device.device_id),
            memory.get(device.device_id),
            sampled_at,
            covers_seconds,
        )
        for device in node.facts.devices
    ]


def _device(
    device: Device,
    enrolled: EnrolledNode,
    holder: Holder | None,
    health: DeviceHealth | None,
    ledger: MemoryLedger | None,
    sampled_at: datetime,
    covers_seconds: float | None,
) -> DeviceSample:
    uses = _uses(ledger)
    total = ledger.total_bytes if ledger is not None else None
    return DeviceSample(
        sampled_at=sampled_at,
        node=enrolled.name,
        device_id=device.device_id,
        provider=enrolled.location.provider,
        region=enrolled.location.region,
        device_kind=device.kind,
        engine_id=holder.engine_id if holder else "",
        model=holder.model if holder else "",
        engine_ready=holder.ready if holder else False,
        covers_seconds=covers_seconds,
        memory_total_bytes=device.memory_bytes if total is None else total,
        memory_used_bytes=health.memory_used_bytes if health else None,
        weights_bytes=uses.get(MemoryUse.WEIGHTS),
        kv_cache_bytes=uses.get(MemoryUse.KV_CACHE),
        activations_bytes=uses.get(MemoryUse.ACTIVATIONS),
        other_bytes=uses.get(MemoryUse.OTHER),
        free_bytes=uses.get(MemoryUse.FREE),
        power_watts=health.power_watts if health else None,
        temperature_celsius=health.temperature_celsius if health else None,
        compute_clock_hertz=health.compute_clock_hertz if health else None,
        throttled=bool(health.throttle_reasons) if health else None,
        faults_count=len(health.faults) if health else None,
    )


def _uses(ledger: MemoryLedger | None) -> dict[MemoryUse, int]:
    found: dict[MemoryUse, int] = {}
    for portion in ledger.portions if ledger is not None else ():
        found[portion.use] = found.get(portion.use, 0) + portion.bytes
    return found


def node_sample(
    node: NodeObserved,
    enrolled: EnrolledNode,
    engines: Iterable[EngineReport],
    holders: Mapping[str, Holder],
    sampled_at: datetime,
    covers_seconds: float | None,
) -> NodeSample:
    """As it is now. Its devices stay what they were when it falls silent; what they do is not known any more."""
    heard = node.heard_since_boot
    told = heard and node.trust is not Trust.STALE
    states = [engine.state for engine in engines] if told else []
    return NodeSample(
        sampled_at=sampled_at,
        node=enrolled.name,
        provider=enrolled.location.provider,
        region=enrolled.location.region,
        connected=node.connected,
        trust=node.trust.value,
        cordoned=enrolled.cordoned,
        simulated=bool(enrolled.simulated_by),
        agent_version=node.facts.agent_version,
        covers_seconds=covers_seconds,
        devices_count=len(node.facts.devices) if heard else None,
        placed_devices_count=sum(each.device_id in holders for each in node.facts.devices) if told else None,
        engines_count=len(states) if told else None,
        ready_engines_count=states.count(EngineState.READY) if told else None,
        clock_error_seconds=node.clock_error_seconds,
    )
