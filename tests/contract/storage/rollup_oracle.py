"""Minutes and hours of engines, told in plain Python from all samples at once."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from controlplane.fleet.history import EngineSample
from controlplane.storage.tables.history import COUNTERS
from controlplane.storage.tables.rollups import counted

Row = dict[str, Any]
_NAMES = ("node", "provider", "region", "model", "state")
_MEANS = ("kv_used_tokens", "running_count", "waiting_count", "inflight_count")
_PEAKS = (*_MEANS, "resident_chunks_count")


def minutes(samples: Iterable[EngineSample]) -> dict[tuple[str, datetime], Row]:
    by_minute: dict[tuple[str, datetime], list[EngineSample]] = defaultdict(list)
    for sample in samples:
        by_minute[sample.engine_id, sample.sampled_at.replace(second=0, microsecond=0)].append(sample)
    known: dict[tuple[str, str, str], float] = {}  # process and counter → the highest so far
    rows = {}
    for (engine_id, at), members in sorted(by_minute.items(), key=lambda item: item[0][1]):
        row = _gauges(members)
        for counter in COUNTERS:
            grown = []
            for instance_id in {member.instance_id for member in members}:
                readings = [getattr(m, counter) for m in members if m.instance_id == instance_id]
                top = max((reading for reading in readings if reading is not None), default=None)
                before = known.get((engine_id, instance_id, counter), 0)
                if top is not None:
                    grown.append(max(top - before, 0))
                    known[engine_id, instance_id, counter] = max(top, before)
            row[counted(counter)] = sum(grown) if grown else None
        rows[engine_id, at] = row
    return rows


def hours(samples: Sequence[EngineSample]) -> dict[tuple[str, datetime], Row]:
    by_hour: dict[tuple[str, datetime], list[Row]] = defaultdict(list)
    for (engine_id, at), row in sorted(minutes(samples).items()):
        by_hour[engine_id, at.replace(minute=0)].append(row)
    rows = {}
    for (engine_id, at), members in by_hour.items():
        row = {name: members[-1][name] for name in _NAMES}
        for column in members[0]:
            values = [member[column] for member in members if member[column] is not None]
            weights = [member["samples_count"] for member in members if member[column] is not None]
            if column in _NAMES or column == "processes_count":
                continue
            if column.endswith("_mean"):
                row[column] = _over(sum(v * w for v, w in zip(values, weights, strict=True)), sum(weights))
            elif column.endswith(("_max", "capacity_tokens")):
                row[column] = max(values, default=None)
            elif column.endswith("_min"):
                row[column] = min(values, default=None)
            else:
                row[column] = sum(values) if values else None
        seen: dict[str, list[datetime]] = defaultdict(list)
        for sample in samples:
            if sample.engine_id == engine_id:
                seen[sample.instance_id].append(sample.sampled_at)
        row["processes_count"] = sum(
            min(times).replace(minute=0, second=0, microsecond=0) <= at <= max(times) for times in seen.values()
        )
        rows[engine_id, at] = row
    return rows


def differences(found: Mapping[Any, Row], expected: Mapping[Any, Row]) -> list[str]:
    """What is not the same, but for the order in which floats were added."""
    told = [f"{key} is in one only" for key in found.keys() ^ expected.keys()]
    for key in found.keys() & expected.keys():
        for column, wanted in expected[key].items():
            got = found[key][column]
            close = wanted == got or (
                isinstance(wanted, int | float)
                and isinstance(got, int | float)
                and abs(got - wanted) <= 1e-9 * max(abs(got), abs(wanted))
            )
            if not close:
                told.append(f"{key} {column}: {got!r} instead of {wanted!r}")
    return told


def _gauges(members: list[EngineSample]) -> Row:
    last = max(members, key=lambda each: (each.sampled_at, each.instance_id))
    row: Row = {name: getattr(last, name) for name in _NAMES}
    row["samples_count"] = len(members)
    row["processes_count"] = len({member.instance_id for member in members})
    row["covered_seconds"] = _known(sum, [m.covers_seconds for m in members])
    row["ready_seconds"] = _known(sum, [m.covers_seconds and m.covers_seconds * (m.state == "ready") for m in members])
    row["device_seconds"] = _known(
        sum,
        [
            None if m.covers_seconds is None or m.devices_count is None else m.covers_seconds * m.devices_count
            for m in members
        ],
    )
    ratios = [
        None if m.kv_used_tokens is None or not m.kv_capacity_tokens else m.kv_used_tokens / m.kv_capacity_tokens
        for m in members
    ]
    row["kv_capacity_tokens"] = _known(max, [m.kv_capacity_tokens for m in members])
    row["kv_used_ratio_mean"] = _known(_average, ratios)
    row["kv_used_ratio_max"] = _known(max, ratios)
    row["kv_headroom_tokens_min"] = _known(min, [m.kv_headroom_tokens for m in members])
    for name in _MEANS:
        row[f"{name}_mean"] = _known(_average, [getattr(m, name) for m in members])
    for name in _PEAKS:
        row[f"{name}_max"] = _known(max, [getattr(m, name) for m in members])
    return row


def _known(put_together: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return put_together(known) if known else None


def _average(values: list[float]) -> float:
    return sum(values) / len(values)


def _over(part: float, whole: float) -> float | None:
    return part / whole if whole else None
