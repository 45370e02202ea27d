"""How a node's devices do and where their memory is, as an operator sees it: frozen rows, and what follows from them.

`console.link.hardware_codec` makes them from the wire. `None` always means "not known": a dash, never 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

USES = ("weights", "kv_cache", "activations", "other", "free")  # in the order in which they are drawn


@dataclass(frozen=True, slots=True)
class FaultRow:
    kind: str
    severity: str  # info, warning, error
    message: str
    action: str  # what to do about it
    since: datetime | None

    @property
    def matters(self) -> bool:
        return self.severity != "info"


@dataclass(frozen=True, slots=True)
class DeviceHealthRow:
    device_id: str
    measured_at: datetime | None
    memory_used_bytes: int | None = None
    temperature_celsius: float | None = None
    temperature_limit_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    compute_clock_hertz: float | None = None
    compute_clock_max_hertz: float | None = None
    memory_clock_hertz: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    ecc_corrected_count: int | None = None
    ecc_uncorrected_count: int | None = None
    rows_remapped_count: int | None = None
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    nvlinks_active_count: int | None = None
    nvlinks_count: int | None = None
    recent_xids: tuple[int, ...] = ()
    faults: tuple[FaultRow, ...] = ()


@dataclass(frozen=True, slots=True)
class MemoryPortionRow:
    use: str  # one of USES; "" of a newer release
    bytes: int
    source: str  # measured, configured, table, assumed
    engine_id: str


@dataclass(frozen=True, slots=True)
class KvHeadroomRow:
    """What could still be given to an engine's KV cache out of what is free."""

    engine_id: str
    bytes: int
    tokens: int | None
    requests_count: float | None  # concurrent requests of the recent mean length
    source: str


@dataclass(frozen=True, slots=True)
class MemoryLedgerRow:
    device_id: str
    measured_at: datetime | None
    total_bytes: int | None
    portions: tuple[MemoryPortionRow, ...]
    headroom: tuple[KvHeadroomRow, ...]


def faults_of(health: Iterable[DeviceHealthRow]) -> list[tuple[str, FaultRow]]:
    """Device and fault, worst first; what is only worth knowing is left out."""
    found = [(device.device_id, fault) for device in health for fault in device.faults if fault.matters]
    return sorted(found, key=lambda each: (each[1].severity != "error", each[0], each[1].kind))


def headroom_of(ledgers: Iterable[MemoryLedgerRow], engine_id: str) -> tuple[KvHeadroomRow, MemoryLedgerRow] | None:
    """What an engine's KV cache could still be given, by its fullest device, and that device's ledger."""
    rooms = [(room, ledger) for ledger in ledgers for room in ledger.headroom if room.engine_id == engine_id]
    if not rooms:
        return None
    unknown = next((each for each in rooms if each[0].tokens is None), None)
    return unknown or min(rooms, key=lambda each: each[0].tokens or 0)


@dataclass(frozen=True, slots=True)
class MemorySums:
    """The memory of several devices together, from one engine's point of view."""

    devices: int
    total_bytes: int | None
    bytes_by_use: dict[str, int]  # USES of which something is known; what other engines hold is "other"
    sources: dict[str, str]  # of each use; "mixed" when its portions differ
    measured_at: datetime | None  # of the oldest


def memory_sums(ledgers: Iterable[MemoryLedgerRow], engine_id: str) -> MemorySums:
    ledgers = tuple(ledgers)
    sums: dict[str, int] = {}
    sources: dict[str, str] = {}
    for portion in (portion for ledger in ledgers for portion in ledger.portions if portion.use in USES):
        use = portion.use if portion.engine_id in ("", engine_id) else "other"
        sums[use] = sums.get(use, 0) + portion.bytes
        sources[use] = portion.source if sources.get(use, portion.source) == portion.source else "mixed"
    totals = [ledger.total_bytes for ledger in ledgers if ledger.total_bytes is not None]
    times = [ledger.measured_at for ledger in ledgers if ledger.measured_at is not None]
    return MemorySums(
        devices=len(ledgers),
        total_bytes=sum(totals) if totals and len(totals) == len(ledgers) else None,
        bytes_by_use={use: sums[use] for use in USES if use in sums},
        sources=sources,
        measured_at=min(times) if times and len(times) == len(ledgers) else None,
    )
