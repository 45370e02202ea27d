"""Views of devices and nodes: by minute, by hour, and what became of the GPU-hours of each provider."""

from controlplane.storage.views.view import View, ViewColumn, ratio
from controlplane.storage.views.words import HOUR, MINUTE, columns, given

_BUSY = "CASE WHEN busy_seconds IS NOT NULL THEN busy_seconds WHEN placed_seconds = 0 THEN 0 END"

_DEVICE = (
    ("covered_seconds", "time that the readings stand for: the device was heard of"),
    ("placed_seconds", "of these: held by an engine"),
    ("serving_seconds", "held by one that was ready"),
    ("busy_seconds", "that had work to do; NULL: an engine without the plug-in held it", _BUSY),
    ("wasted_seconds", "covered, placed or not, and not busy", f"covered_seconds - {_BUSY}"),
    ("throttled_seconds", "slowed down by heat or power"),
    ("memory_total_bytes", "the device's memory"),
    ("memory_used_bytes_mean", "in use, on average"),
    ("memory_used_bytes_max", "at most"),
    ("weights_bytes_max", "taken by weights, at most"),
    ("kv_cache_bytes_max", "taken by the KV cache, at most"),
    ("free_bytes_min", "free, at least"),
    ("power_watts_mean", "power, on average"),
    ("power_watts_max", "at most"),
    ("energy_joules", "energy: power over the covered time"),
    ("temperature_celsius_max", "the highest temperature"),
    ("faults_count_max", "faults that it had at once, at most"),
    ("busy_ratio", "share of the covered time in which it was busy", ratio(f"({_BUSY})", "covered_seconds")),
)


def _devices(name: str, at: str, meaning: str) -> View:
    return View(
        name,
        f"one row a device and {at.removesuffix('_at')}",
        (
            *columns("node", "device_id", at, node="the node that has it", **{at: meaning}),
            *columns("provider", "region", "device_kind", "engine_id", "model", "samples_count", **_LAST_HOLDER),
            *given(_DEVICE),
        ),
        f"FROM rolled_{name}",
    )


_LAST_HOLDER = {
    "engine_id": "the last engine that held it; empty: none did",
    "model": "what that engine served",
}

_NODE = (
    ("trust", "the last trust in its figures: `fresh`, `stale`, …"),
    ("agent_version", "of its agent"),
    ("connected", "whether its agent was connected at the end"),
    ("cordoned", "whether nothing new was to be placed there, at the end"),
    ("simulated", "whether its figures come from arithmetic"),
    ("samples_count", "readings that it was made of"),
    ("covered_seconds", "time that the readings stand for"),
    ("connected_seconds", "of these: connected"),
    ("cordoned_seconds", "cordoned"),
    ("device_seconds", "covered time, times its devices"),
    ("placed_device_seconds", "covered time, times the devices that engines held"),
    ("devices_count", "devices, at the end"),
    ("placed_devices_count", "held by engines, at the end"),
    ("engines_count", "engines, at the end"),
    ("ready_engines_count", "ready, at the end"),
    ("clock_error_seconds", "how far its clock was ahead of the control plane's, at the end"),
    ("connected_ratio", "share of the covered time connected", ratio("connected_seconds", "covered_seconds")),
    ("placed_ratio", "share of its device time held by engines", ratio("placed_device_seconds", "device_seconds")),
)


def _nodes(name: str, at: str, meaning: str) -> View:
    return View(
        name,
        f"one row a node and {at.removesuffix('_at')}",
        (
            *columns("node", at, node="the node", **{at: meaning}),
            *columns("provider", "region"),
            *given(_NODE),
        ),
        f"FROM rolled_{name}",
    )


DEVICE_MINUTES = _devices("device_minutes", "minute_at", MINUTE)
DEVICE_HOURS = _devices("device_hours", "hour_at", HOUR)
NODE_MINUTES = _nodes("node_minutes", "minute_at", MINUTE)
NODE_HOURS = _nodes("node_hours", "hour_at", HOUR)

# The leases that hold there and then. Two currencies have no mean.
_LEASES = """FROM leases
    WHERE leases.provider = hours.provider AND (leases.region = '' OR leases.region = hours.region)
      AND leases.device_kind = hours.device_kind AND leases.price_per_device_hour IS NOT NULL
      AND leases.starts_at <= hours.hour_at AND leases.ends_at > hours.hour_at"""
_ONE_CURRENCY = "CASE WHEN MIN(leases.currency) = MAX(leases.currency) THEN"

_HOURS = f"""FROM (
  SELECT hours.*,
    (SELECT {_ONE_CURRENCY}
      SUM(leases.price_per_device_hour * leases.devices_count) / NULLIF(SUM(leases.devices_count), 0) END
    {_LEASES}) AS price_per_device_hour,
    (SELECT {_ONE_CURRENCY} MIN(leases.currency) END
    {_LEASES}) AS currency
  FROM (
    SELECT hour_at, provider, region, device_kind, COUNT(*) AS devices_count,
      SUM(covered_seconds) / 3600 AS covered_device_hours,
      SUM(placed_seconds) / 3600 AS placed_device_hours,
      SUM(serving_seconds) / 3600 AS serving_device_hours,
      SUM({_BUSY}) / 3600 AS busy_device_hours,
      SUM(covered_seconds - {_BUSY}) / 3600 AS wasted_device_hours,
      SUM(CASE WHEN busy_seconds IS NULL AND placed_seconds > 0 THEN covered_seconds ELSE 0 END) / 3600
        AS unknown_device_hours,
      SUM(energy_joules) AS energy_joules
    FROM rolled_device_hours
    GROUP BY hour_at, provider, region, device_kind
  ) AS hours
)AS priced"""  # noqa: S608 - made of constants only

GPU_HOURS_BY_PROVIDER = View(
    "gpu_hours_by_provider",
    "one row an hour, provider, region and kind of device: what became of the device-hours there",
    (
        ViewColumn("hour_at", HOUR),
        *columns("provider", "region", "device_kind"),
        *given(
            [
                ("devices_count", "devices heard of"),
                ("covered_device_hours", "device-hours in which they were heard of"),
                ("placed_device_hours", "of these: held by an engine"),
                ("serving_device_hours", "held by one that was ready"),
                ("busy_device_hours", "that had work to do, as far as it is known"),
                ("wasted_device_hours", "not busy, placed or not, as far as it is known"),
                ("unknown_device_hours", "of which it is not known whether they were busy: no plug-in in the engine"),
                (
                    "wasted_ratio",
                    "share that was wasted of what is known",
                    ratio("wasted_device_hours", "(busy_device_hours + wasted_device_hours)"),
                ),
                ("energy_joules", "energy, as far as it is known"),
                (
                    "price_per_device_hour",
                    "mean price of the leases that hold there at the hour's beginning; NULL: none",
                ),
                ("currency", "of the price"),
                ("cost", "covered device-hours at that price", "covered_device_hours * price_per_device_hour"),
                ("wasted_cost", "wasted device-hours at that price", "wasted_device_hours * price_per_device_hour"),
            ]
        ),
    ),
    _HOURS,
)
