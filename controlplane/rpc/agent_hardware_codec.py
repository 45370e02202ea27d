"""What agents tell of their devices, from the wire to facts. Called by `rpc.agent_service`; bounds everything."""

import math
from collections.abc import Sequence

from controlplane.fleet.hardware import DeviceHealth, Fault, KvHeadroom, MemoryLedger, MemoryPortion, MemoryUse
from controlplane.fleet.observed import Severity
from controlplane.fleet.sources import Source
from controlplane.proto.stoker.v1 import fleet_pb2
from controlplane.rpc.agent_inside_codec import SOURCES
from controlplane.rpc.bounded import COUNT_MAX, LIST_MAX, count, real, text
from controlplane.rpc.timestamps import from_wire

FAULTS_MAX = 32  # of one device
PORTIONS_MAX = 128  # of one device

_SEVERITIES = {
    fleet_pb2.SEVERITY_INFO: Severity.INFO,
    fleet_pb2.SEVERITY_ERROR: Severity.ERROR,
}
_USES = {
    fleet_pb2.MEMORY_USE_WEIGHTS: MemoryUse.WEIGHTS,
    fleet_pb2.MEMORY_USE_KV_CACHE: MemoryUse.KV_CACHE,
    fleet_pb2.MEMORY_USE_ACTIVATIONS: MemoryUse.ACTIVATIONS,
    fleet_pb2.MEMORY_USE_OTHER: MemoryUse.OTHER,
    fleet_pb2.MEMORY_USE_FREE: MemoryUse.FREE,
}


def health_from(devices: Sequence[fleet_pb2.DeviceHealth]) -> tuple[DeviceHealth, ...]:
    return tuple(_health(device) for device in devices[:LIST_MAX] if device.device_id)


def _health(device: fleet_pb2.DeviceHealth) -> DeviceHealth:
    return DeviceHealth(
        device_id=text(device.device_id, 64),
        measured_at=from_wire(device, "measured_at"),
        memory_used_bytes=count(device, "memory_used_bytes"),
        temperature_celsius=_celsius(device, "temperature_celsius"),
        temperature_limit_celsius=_celsius(device, "temperature_limit_celsius"),
        power_watts=real(device, "power_watts"),
        power_limit_watts=real(device, "power_limit_watts"),
        compute_clock_hertz=real(device, "compute_clock_hertz"),
        compute_clock_max_hertz=real(device, "compute_clock_max_hertz"),
        memory_clock_hertz=real(device, "memory_clock_hertz"),
        throttle_reasons=tuple(text(reason, 64) for reason in device.throttle_reasons[:16]),
        ecc_corrected_count=count(device, "ecc_corrected_count"),
        ecc_uncorrected_count=count(device, "ecc_uncorrected_count"),
        rows_remapped_count=count(device, "rows_remapped_count"),
        pcie_generation=count(device, "pcie_generation"),
        pcie_generation_max=count(device, "pcie_generation_max"),
        pcie_width=count(device, "pcie_width"),
        pcie_width_max=count(device, "pcie_width_max"),
        nvlinks_active_count=count(device, "nvlinks_active_count"),
        nvlinks_count=count(device, "nvlinks_count"),
        recent_xids=tuple(device.recent_xids[-32:]),
        faults=tuple(_fault(fault) for fault in device.faults[:FAULTS_MAX]),
    )


def _celsius(device: fleet_pb2.DeviceHealth, field: str) -> float | None:
    """A cold device is no error: less than zero is a temperature."""
    value: float = getattr(device, field)
    return value if device.HasField(field) and math.isfinite(value) else None  # type: ignore[arg-type]  # a field's name


def _fault(fault: fleet_pb2.Fault) -> Fault:
    return Fault(
        kind=text(fault.kind, 64) or "unknown",
        severity=_SEVERITIES.get(fault.severity, Severity.WARNING),
        message=text(fault.message, 1000),
        action=text(fault.action, 1000),
        since=from_wire(fault, "since"),
    )


def memory_from(ledgers: Sequence[fleet_pb2.MemoryLedger]) -> tuple[MemoryLedger, ...]:
    return tuple(
        MemoryLedger(
            device_id=text(ledger.device_id, 64),
            measured_at=from_wire(ledger, "measured_at"),
            total_bytes=count(ledger, "total_bytes"),
            portions=tuple(
                MemoryPortion(
                    _USES[portion.use],
                    portion.bytes,
                    SOURCES.get(portion.source, Source.ASSUMED),
                    text(portion.engine_id, 320),
                )
                for portion in ledger.portions[:PORTIONS_MAX]
                if portion.use in _USES and portion.bytes <= COUNT_MAX
            ),
            headroom=tuple(
                KvHeadroom(
                    text(room.engine_id, 320),
                    room.bytes,
                    count(room, "tokens"),
                    real(room, "requests_count"),
                    SOURCES.get(room.source, Source.ASSUMED),
                )
                for room in ledger.headroom[:PORTIONS_MAX]
                if room.bytes <= COUNT_MAX
            ),
        )
        for ledger in ledgers[:LIST_MAX]
        if ledger.device_id
    )
