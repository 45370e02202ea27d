"""What is rolled up of engines, devices and nodes, column by column. Data only; used by `rollups`."""

from dataclasses import dataclass

from controlplane.storage.rollups.measures import REAL, Measure, covered, low, mean, peak, total
from controlplane.storage.tables.history import COUNTERS, REAL_COUNTERS
from controlplane.storage.tables.rollups import counted

# No engine counts more in a minute: what a process tells beyond it is unknown, and overflows nothing.
WHOLE_GROWTH_MAX = 2**53
REAL_GROWTH_MAX = 1e30


@dataclass(frozen=True, slots=True)
class Kind:
    """`rolled_{name}_minutes` and `rolled_{name}_hours`, from `samples`."""

    name: str
    samples: str
    keys: tuple[str, ...]  # the first one is the name in positions and marks
    last: tuple[str, ...]  # columns that are the last sample's
    measures: tuple[Measure, ...]
    counts: tuple[tuple[str, str], ...] = ()  # column, and the counter of which it is the growth

    @property
    def minutes(self) -> str:
        return f"rolled_{self.name}_minutes"

    @property
    def hours(self) -> str:
        return f"rolled_{self.name}_hours"

    @property
    def minutes_position(self) -> str:
        return f"{self.name}_minutes"

    @property
    def hours_position(self) -> str:
        return f"{self.name}_hours"


def growth_max(counter: str) -> str:
    return repr(REAL_GROWTH_MAX if counter in REAL_COUNTERS else WHOLE_GROWTH_MAX)


_KV_RATIO = "CASE WHEN kv_capacity_tokens > 0 THEN kv_used_tokens * 1.0 / kv_capacity_tokens END"

ENGINES = Kind(
    "engine",
    "engine_samples",
    ("engine_id",),
    ("node", "provider", "region", "model", "state"),
    (
        total("covered_seconds", "covers_seconds"),
        covered("ready_seconds", "state = 'ready'"),
        total("device_seconds", "covers_seconds * devices_count"),
        peak("kv_capacity_tokens", "kv_capacity_tokens"),
        mean("kv_used_tokens_mean", "kv_used_tokens"),
        peak("kv_used_tokens_max", "kv_used_tokens"),
        mean("kv_used_ratio_mean", _KV_RATIO),
        peak("kv_used_ratio_max", _KV_RATIO, REAL),
        mean("running_count_mean", "running_count"),
        peak("running_count_max", "running_count"),
        mean("waiting_count_mean", "waiting_count"),
        peak("waiting_count_max", "waiting_count"),
        mean("inflight_count_mean", "inflight_count"),
        peak("inflight_count_max", "inflight_count"),
        low("kv_headroom_tokens_min", "kv_headroom_tokens"),
        peak("resident_chunks_count_max", "resident_chunks_count"),
    ),
    tuple((counted(counter), counter) for counter in COUNTERS),
)

_POWER = "CASE WHEN power_watts < 1e9 THEN power_watts END"  # beyond it is no reading

DEVICES = Kind(
    "device",
    "device_samples",
    ("node", "device_id"),
    ("provider", "region", "device_kind", "engine_id", "model"),
    (
        total("covered_seconds", "covers_seconds"),
        covered("placed_seconds", "engine_id <> ''"),
        covered("serving_seconds", "engine_id <> '' AND engine_ready"),
        total(
            "throttled_seconds",
            "CASE WHEN throttled IS NULL THEN NULL WHEN throttled THEN covers_seconds ELSE 0 * covers_seconds END",
        ),
        peak("memory_total_bytes", "memory_total_bytes"),
        mean("memory_used_bytes_mean", "memory_used_bytes"),
        peak("memory_used_bytes_max", "memory_used_bytes"),
        peak("weights_bytes_max", "weights_bytes"),
        peak("kv_cache_bytes_max", "kv_cache_bytes"),
        low("free_bytes_min", "free_bytes"),
        mean("power_watts_mean", _POWER),
        peak("power_watts_max", _POWER, REAL),
        total("energy_joules", f"{_POWER} * covers_seconds"),
        peak("temperature_celsius_max", "temperature_celsius", REAL),
        peak("faults_count_max", "faults_count"),
    ),
)

NODES = Kind(
    "node",
    "node_samples",
    ("node",),
    (
        *("provider", "region", "trust", "agent_version", "connected", "cordoned", "simulated"),
        *("devices_count", "placed_devices_count", "engines_count", "ready_engines_count", "clock_error_seconds"),
    ),
    (
        total("covered_seconds", "covers_seconds"),
        covered("connected_seconds", "connected"),
        covered("cordoned_seconds", "cordoned"),
        total("device_seconds", "covers_seconds * devices_count"),
        total("placed_device_seconds", "covers_seconds * placed_devices_count"),
    ),
)
