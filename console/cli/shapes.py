"""The JSON that commands write: one stable shape for each kind of row. Called by commands with `-o json`.

Keys carry their units, unknown is null, times are ISO 8601 in UTC, enums are lower-case words. Keys are only added.
"""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any

from console.model.fleet_view import NodeRow
from console.model.format import age_seconds
from console.model.summaries import Totals

# Rows that say "running" to screens say "running_count" to programs.
_KEYS: Mapping[str, str] = MappingProxyType(
    {each: f"{each}_count" for each in ("running", "waiting", "inflight", "samples_waiting", "events_waiting")}
)
_TOTALS_KEYS: Mapping[str, str] = MappingProxyType(
    {**_KEYS, **{each: f"{each}_count" for each in ("engines", "ready", "routable")}}
)


def shape(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        keys = _TOTALS_KEYS if isinstance(value, Totals) else _KEYS
        return {keys.get(each.name, each.name): shape(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): shape(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [shape(each) for each in value]
    return value


def node_shape(node: NodeRow, now: datetime | None) -> dict[str, Any]:
    return {
        **shape(node),
        "health": [{**shape(row), "age_seconds": age_seconds(row.measured_at, now)} for row in node.health],
        "memory": [{**shape(row), "age_seconds": age_seconds(row.measured_at, now)} for row in node.memory],
        "age_seconds": age_seconds(node.last_report_at, now),
    }
