"""Sample rows of what is inside engines and how devices do, at a load: for `tests.fakes.fleet_rows`. Nothing is drawn."""

from datetime import UTC, datetime, timedelta

from console.model.fleet_view import DeviceRow, EngineRow, NodeRow
from console.model.hardware import (
    DeviceHealthRow,
    FaultRow,
    KvHeadroomRow,
    MemoryLedgerRow,
    MemoryPortionRow,
)
from console.model.inside import BillRow, InsideRow, InsideState, ModelShapeRow, ResidencyRow, StepTotalsRow

READ_AT = datetime(2026, 3, 14, 3, 12, 3, tzinfo=UTC)  # four seconds before the fleet's NOW


def health(device: DeviceRow) -> DeviceHealthRow:
    """A device that works, and tells what its kind does."""
    amd = device.family == "rocm"
    return DeviceHealthRow(
        device_id=device.device_id,
        measured_at=READ_AT,
        memory_used_bytes=int((device.memory_bytes or 0) * 0.91),
        temperature_celsius=58.0,
        temperature_limit_celsius=None if amd else 87.0,
        power_watts=412.0,
        power_limit_watts=700.0,
        compute_clock_hertz=1.755e9,
        compute_clock_max_hertz=1.98e9,
        memory_clock_hertz=2.619e9,
        ecc_corrected_count=None if amd else 2,
        ecc_uncorrected_count=None if amd else 0,
        rows_remapped_count=None if amd else 0,
        pcie_generation=5,
        pcie_generation_max=5,
        pcie_width=16,
        pcie_width_max=16,
        nvlinks_active_count=None if amd else 18,
        nvlinks_count=None if amd else 18,
    )


def fallen_off() -> FaultRow:
    return FaultRow(
        kind="xid",
        severity="error",
        message="XID 79: the GPU has fallen off the bus",
        action="Drain the node, power-cycle it, and replace the GPU if it happens again.",
        since=READ_AT - timedelta(minutes=6),
    )


def hot() -> FaultRow:
    return FaultRow("thermal_throttle", "warning", "slowed down at 88 °C", "Check the fans and the inlet.", READ_AT)


def ledgers(host: NodeRow, engines: list[EngineRow]) -> tuple[MemoryLedgerRow, ...]:
    """Of all devices whose memory is known, with the engines on them."""
    return tuple(
        _ledger(
            device.device_id, device.memory_bytes, [each for each in engines if device.device_id in each.device_ids]
        )
        for device in host.devices
        if device.memory_bytes
    )


def _ledger(device_id: str, total: int, engines: list[EngineRow]) -> MemoryLedgerRow:
    portions: list[MemoryPortionRow] = []
    for engine in engines:
        for use, share, source in (
            ("weights", 0.2, "measured"),
            ("kv_cache", 0.58, "measured"),
            ("activations", 0.1, "measured"),
        ):
            portions.append(MemoryPortionRow(use, int(total * share), source, engine.engine_id))
    portions.append(MemoryPortionRow("other", int(total * 0.02), "measured", ""))
    free = total - sum(portion.bytes for portion in portions)
    portions.append(MemoryPortionRow("free", free, "measured", ""))
    room = max(0, free - int(total * 0.08))
    headroom = tuple(KvHeadroomRow(each.engine_id, room, room // 2**17, room / 2**28, "measured") for each in engines)
    return MemoryLedgerRow(device_id, READ_AT, total, tuple(portions), headroom)


def shape() -> ModelShapeRow:
    return ModelShapeRow(
        parameters_count=8_030_261_248,
        layers_count=32,
        hidden_size=4096,
        attention_heads_count=32,
        kv_heads_count=8,
        head_size=128,
        vocabulary_size=128_256,
        weights_bytes=16_060_522_496,
        kv_block_tokens=16,
        kv_bytes_per_token=131_072.0,
        sequences_max=256,
        batched_tokens_max=8192,
        tensor_parallel=1,
    )


def inside(load: float) -> InsideRow:
    steps = StepTotalsRow(
        steps_total=1_200_000,
        prefill_tokens_total=int(4e8 * load),
        decode_tokens_total=int(9e7 * load),
        running_total=int(1.4e8 * load),
        waiting_total=0,
        flops_total=8e18 * load,
        read_bytes_total=3e16 * load,
        write_bytes_total=2e15 * load,
        busy_seconds_total=52_000.0 * load,
        preemptions_total=3,
        prefill_flops_total=6e18 * load,
        prefill_seconds_total=21_000.0 * load,
    )
    return InsideRow(InsideState.ACTIVE, "", "0.1.0", steps, READ_AT + timedelta(seconds=3), 0)


def bills(load: float) -> tuple[BillRow, ...]:
    return (
        BillRow("acme", int(2e6 * load), 3.2e16 * load, 41.0 * load, "measured"),
        BillRow("globex", int(3e5 * load), 4.8e15 * load, 6.1 * load, "measured"),
        BillRow("", 1200, 1.9e13, 0.03, "measured"),
    )


def residency(load: float) -> ResidencyRow:
    return ResidencyRow(version=4096, chunks_count=int(26_000 * load), blocks_count=int(13_000 * load), complete=True)
