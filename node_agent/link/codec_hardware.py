"""How devices are doing and where their memory is, as the wire tells it. Called by `codec` only; never raises."""

from controlplane.proto.stoker.v1 import fleet_pb2
from node_agent.link.codec_values import SEVERITIES, SOURCES, real, text, texts, timestamp, whole
from node_agent.session.hardware import DeviceHealth, Fault, KvHeadroom, MemoryLedger, MemoryPortion, MemoryUse

FAULTS_MAX = 32  # of one device
XIDS_MAX = 32
PORTIONS_MAX = 128  # of one device

_USES = {
    MemoryUse.WEIGHTS: fleet_pb2.MEMORY_USE_WEIGHTS,
    MemoryUse.KV_CACHE: fleet_pb2.MEMORY_USE_KV_CACHE,
    MemoryUse.ACTIVATIONS: fleet_pb2.MEMORY_USE_ACTIVATIONS,
    MemoryUse.OTHER: fleet_pb2.MEMORY_USE_OTHER,
    MemoryUse.FREE: fleet_pb2.MEMORY_USE_FREE,
}


def health_message(health: DeviceHealth) -> fleet_pb2.DeviceHealth:
    xids = (whole(xid, bits=32) for xid in health.recent_xids[-XIDS_MAX:])
    return fleet_pb2.DeviceHealth(
        device_id=text(health.device_id),
        measured_at=timestamp(health.measured_at),
        memory_used_bytes=whole(health.memory_used_bytes),
        temperature_celsius=real(health.temperature_celsius),
        temperature_limit_celsius=real(health.temperature_limit_celsius),
        power_watts=real(health.power_watts),
        power_limit_watts=real(health.power_limit_watts),
        compute_clock_hertz=real(health.compute_clock_hertz),
        compute_clock_max_hertz=real(health.compute_clock_max_hertz),
        memory_clock_hertz=real(health.memory_clock_hertz),
        throttle_reasons=texts(health.throttle_reasons),
        ecc_corrected_count=whole(health.ecc_corrected_count),
        ecc_uncorrected_count=whole(health.ecc_uncorrected_count),
        rows_remapped_count=whole(health.rows_remapped_count, bits=32),
        pcie_generation=whole(health.pcie_generation, bits=32),
        pcie_generation_max=whole(health.pcie_generation_max, bits=32),
        pcie_width=whole(health.pcie_width, bits=32),
        pcie_width_max=whole(health.pcie_width_max, bits=32),
        nvlinks_active_count=whole(health.nvlinks_active_count, bits=32),
        nvlinks_count=whole(health.nvlinks_count, bits=32),
        recent_xids=[xid for xid in xids if xid is not None],
        faults=[_fault(fault) for fault in health.faults[:FAULTS_MAX]],
    )


def _fault(fault: Fault) -> fleet_pb2.Fault:
    return fleet_pb2.Fault(
        kind=text(fault.kind),
        severity=SEVERITIES[fault.severity],
        message=text(fault.message),
        action=text(fault.action),
        since=timestamp(fault.since),
    )


def memory_message(ledger: MemoryLedger) -> fleet_pb2.MemoryLedger:
    portions = [_portion(portion) for portion in ledger.portions[:PORTIONS_MAX]]
    headroom = [_headroom(each) for each in ledger.headroom[:PORTIONS_MAX]]
    return fleet_pb2.MemoryLedger(
        device_id=text(ledger.device_id),
        measured_at=timestamp(ledger.measured_at),
        total_bytes=whole(ledger.total_bytes),
        portions=[portion for portion in portions if portion is not None],
        headroom=[each for each in headroom if each is not None],
    )


def _portion(portion: MemoryPortion) -> fleet_pb2.MemoryPortion | None:
    size_bytes = whole(portion.bytes)
    if size_bytes is None:
        return None
    return fleet_pb2.MemoryPortion(
        use=_USES[portion.use],
        bytes=size_bytes,
        source=SOURCES[portion.source],
        engine_id=text(portion.engine_id),
    )


def _headroom(headroom: KvHeadroom) -> fleet_pb2.KvHeadroom | None:
    size_bytes = whole(headroom.bytes)
    if size_bytes is None:
        return None
    return fleet_pb2.KvHeadroom(
        engine_id=text(headroom.engine_id),
        bytes=size_bytes,
        tokens=whole(headroom.tokens),
        requests_count=real(headroom.requests),
        source=SOURCES[headroom.source],
    )
