"""From the wire to rows: how devices do, and where their memory is. Called by `console.link.codec`; only translates."""

from console.link.fields import SOURCES, moment, real, whole
from console.model.hardware import DeviceHealthRow, FaultRow, KvHeadroomRow, MemoryLedgerRow, MemoryPortionRow
from controlplane.proto.stoker.v1 import fleet_pb2

_SEVERITIES = {
    fleet_pb2.SEVERITY_INFO: "info",
    fleet_pb2.SEVERITY_ERROR: "error",
}
_USES = {
    fleet_pb2.MEMORY_USE_WEIGHTS: "weights",
    fleet_pb2.MEMORY_USE_KV_CACHE: "kv_cache",
    fleet_pb2.MEMORY_USE_ACTIVATIONS: "activations",
    fleet_pb2.MEMORY_USE_OTHER: "other",
    fleet_pb2.MEMORY_USE_FREE: "free",
}


def health_from_wire(message: fleet_pb2.DeviceHealth) -> DeviceHealthRow:
    return DeviceHealthRow(
        device_id=message.device_id,
        measured_at=moment(message, "measured_at"),
        memory_used_bytes=whole(message, "memory_used_bytes"),
        temperature_celsius=real(message, "temperature_celsius"),
        temperature_limit_celsius=real(message, "temperature_limit_celsius"),
        power_watts=real(message, "power_watts"),
        power_limit_watts=real(message, "power_limit_watts"),
        compute_clock_hertz=real(message, "compute_clock_hertz"),
        compute_clock_max_hertz=real(message, "compute_clock_max_hertz"),
        memory_clock_hertz=real(message, "memory_clock_hertz"),
        throttle_reasons=tuple(message.throttle_reasons),
        ecc_corrected_count=whole(message, "ecc_corrected_count"),
        ecc_uncorrected_count=whole(message, "ecc_uncorrected_count"),
        rows_remapped_count=whole(message, "rows_remapped_count"),
        pcie_generation=whole(message, "pcie_generation"),
        pcie_generation_max=whole(message, "pcie_generation_max"),
        pcie_width=whole(message, "pcie_width"),
        pcie_width_max=whole(message, "pcie_width_max"),
        nvlinks_active_count=whole(message, "nvlinks_active_count"),
        nvlinks_count=whole(message, "nvlinks_count"),
        recent_xids=tuple(message.recent_xids),
        faults=tuple(map(_fault, message.faults)),
    )


def _fault(message: fleet_pb2.Fault) -> FaultRow:
    """A severity that this release does not know is taken for a warning: a fault is not to be overlooked."""
    return FaultRow(
        kind=message.kind,
        severity=_SEVERITIES.get(message.severity, "warning"),
        message=message.message,
        action=message.action,
        since=moment(message, "since"),
    )


def memory_from_wire(message: fleet_pb2.MemoryLedger) -> MemoryLedgerRow:
    return MemoryLedgerRow(
        device_id=message.device_id,
        measured_at=moment(message, "measured_at"),
        total_bytes=whole(message, "total_bytes"),
        portions=tuple(
            MemoryPortionRow(_USES.get(each.use, ""), each.bytes, SOURCES.get(each.source, ""), each.engine_id)
            for each in message.portions
        ),
        headroom=tuple(
            KvHeadroomRow(
                each.engine_id,
                each.bytes,
                whole(each, "tokens"),
                real(each, "requests_count"),
                SOURCES.get(each.source, ""),
            )
            for each in message.headroom
        ),
    )
