"""Nodes' devices, from facts to the wire, for operators: what they are, how they do, where their memory is.

Called by `rpc.fleet_codec`.
"""

from controlplane.fleet.hardware import DeviceHealth, MemoryLedger, MemoryUse
from controlplane.fleet.observed import Ceiling, Device, Severity
from controlplane.proto.stoker.v1 import fleet_pb2
from controlplane.rpc.fleet_inside_codec import SOURCES
from controlplane.rpc.timestamps import to_wire

SEVERITIES = {
    Severity.INFO: fleet_pb2.SEVERITY_INFO,
    Severity.WARNING: fleet_pb2.SEVERITY_WARNING,
    Severity.ERROR: fleet_pb2.SEVERITY_ERROR,
}
_USES = {
    MemoryUse.WEIGHTS: fleet_pb2.MEMORY_USE_WEIGHTS,
    MemoryUse.KV_CACHE: fleet_pb2.MEMORY_USE_KV_CACHE,
    MemoryUse.ACTIVATIONS: fleet_pb2.MEMORY_USE_ACTIVATIONS,
    MemoryUse.OTHER: fleet_pb2.MEMORY_USE_OTHER,
    MemoryUse.FREE: fleet_pb2.MEMORY_USE_FREE,
}


def device_to_wire(device: Device) -> fleet_pb2.Device:
    return fleet_pb2.Device(
        device_id=device.device_id,
        kind=device.kind,
        family=device.family,
        memory_bytes=device.memory_bytes,
        driver_version=device.driver_version,
        compute_capability=device.compute_capability,
        ceilings=[_ceiling(ceiling) for ceiling in device.ceilings],
        uuid=device.uuid,
    )


def _ceiling(ceiling: Ceiling) -> fleet_pb2.Ceiling:
    return fleet_pb2.Ceiling(
        dtype=ceiling.dtype,
        flops_per_second=ceiling.flops_per_second,
        bytes_per_second=ceiling.bytes_per_second,
        source=SOURCES[ceiling.source],
        measured_at=to_wire(ceiling.measured_at),
        disturbed=ceiling.disturbed,
    )


def health_to_wire(health: DeviceHealth) -> fleet_pb2.DeviceHealth:
    return fleet_pb2.DeviceHealth(
        device_id=health.device_id,
        measured_at=to_wire(health.measured_at),
        memory_used_bytes=health.memory_used_bytes,
        temperature_celsius=health.temperature_celsius,
        temperature_limit_celsius=health.temperature_limit_celsius,
        power_watts=health.power_watts,
        power_limit_watts=health.power_limit_watts,
        compute_clock_hertz=health.compute_clock_hertz,
        compute_clock_max_hertz=health.compute_clock_max_hertz,
        memory_clock_hertz=health.memory_clock_hertz,
        throttle_reasons=health.throttle_reasons,
        ecc_corrected_count=health.ecc_corrected_count,
        ecc_uncorrected_count=health.ecc_uncorrected_count,
        rows_remapped_count=health.rows_remapped_count,
        pcie_generation=health.pcie_generation,
        pcie_generation_max=health.pcie_generation_max,
        pcie_width=health.pcie_width,
        pcie_width_max=health.pcie_width_max,
        nvlinks_active_count=health.nvlinks_active_count,
        nvlinks_count=health.nvlinks_count,
        recent_xids=health.recent_xids,
        faults=[
            fleet_pb2.Fault(
                kind=fault.kind,
                severity=SEVERITIES[fault.severity],
                message=fault.message,
                action=fault.action,
                since=to_wire(fault.since),
            )
            for fault in health.faults
        ],
    )


def memory_to_wire(ledger: MemoryLedger) -> fleet_pb2.MemoryLedger:
    return fleet_pb2.MemoryLedger(
        device_id=ledger.device_id,
        measured_at=to_wire(ledger.measured_at),
        total_bytes=ledger.total_bytes,
        portions=[
            fleet_pb2.MemoryPortion(
                use=_USES[portion.use],
                bytes=portion.bytes,
                source=SOURCES[portion.source],
                engine_id=portion.engine_id,
            )
            for portion in ledger.portions
        ],
        headroom=[
            fleet_pb2.KvHeadroom(
                engine_id=room.engine_id,
                bytes=room.bytes,
                tokens=room.tokens,
                requests_count=room.requests,
                source=SOURCES[room.source],
            )
            for room in ledger.headroom
        ],
    )
