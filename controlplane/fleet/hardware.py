"""How nodes' devices are doing, and where their memory is.

Made by `rpc.agent_hardware_codec` from the wire, kept in the snapshot with its node. `None` means that this device,
driver or machine does not tell; it never means zero.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from controlplane.fleet.observed import Severity
from controlplane.fleet.sources import Source


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a device, for as long as it is wrong."""

    kind: str  # "xid", "ecc_uncorrected", "thermal_throttle", …
    severity: Severity
    message: str  # what is wrong
    action: str  # what to do about it
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    device_id: str
    measured_at: datetime | None  # by the node's clock
    memory_used_bytes: int | None = None
    temperature_celsius: float | None = None
    temperature_limit_celsius: float | None = None  # where the device begins to slow down
    power_watts: float | None = None
    power_limit_watts: float | None = None
    compute_clock_hertz: float | None = None
    compute_clock_max_hertz: float | None = None
    memory_clock_hertz: float | None = None
    throttle_reasons: tuple[str, ...] = ()  # those that cost speed
    ecc_corrected_count: int | None = None
    ecc_uncorrected_count: int | None = None
    rows_remapped_count: int | None = None  # or pages retired, on older devices
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    nvlinks_active_count: int | None = None
    nvlinks_count: int | None = None
    recent_xids: tuple[int, ...] = ()
    faults: tuple[Fault, ...] = ()


class MemoryUse(Enum):
    WEIGHTS = "weights"
    KV_CACHE = "kv_cache"
    ACTIVATIONS = "activations"  # activations, graphs and the runtime: what an engine holds beside the two above
    OTHER = "other"  # processes that are no engine of ours
    FREE = "free"


@dataclass(frozen=True, slots=True)
class MemoryPortion:
    use: MemoryUse
    bytes: int
    source: Source
    engine_id: str = ""  # "" for OTHER and FREE


@dataclass(frozen=True, slots=True)
class KvHeadroom:
    """What could still be given to an engine's KV cache out of what is free."""

    engine_id: str
    bytes: int
    tokens: int | None
    requests: float | None  # concurrent requests of the recent mean length
    source: Source


@dataclass(frozen=True, slots=True)
class MemoryLedger:
    """The portions add up to the total; what is not known of it is in none of them."""

    device_id: str
    measured_at: datetime | None  # by the node's clock
    total_bytes: int | None = None
    portions: tuple[MemoryPortion, ...] = ()
    headroom: tuple[KvHeadroom, ...] = ()


def kv_headroom_tokens(ledgers: tuple[MemoryLedger, ...], engine_id: str) -> int | None:
    """What the engine's KV cache could still be given: by its fullest device. None when one of them does not tell."""
    least: int | None = None
    for ledger in ledgers:  # written out: asked for every engine of the fleet, again and again
        for room in ledger.headroom:
            if room.engine_id == engine_id:
                if room.tokens is None:
                    return None
                least = room.tokens if least is None else min(least, room.tokens)
    return least
