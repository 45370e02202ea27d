"""Minutes of devices and nodes, from samples. Called by `steps`."""

from datetime import datetime

from sqlalchemy import Connection

from controlplane.storage.rollups.counters import Head
from controlplane.storage.rollups.kinds import DEVICES, Kind
from controlplane.storage.rollups.words import execute, smaller, upsert, words

# What is computed of the engine that the device had at last; 0 where it had none.
_BUSY = (
    "CASE WHEN s.engine_id = '' THEN 0 * x.covered_seconds "
    f"ELSE {smaller('x.covered_seconds', 'engine.busy_seconds')} END"
)
_ENGINE = (
    "LEFT JOIN rolled_engine_minutes AS engine ON engine.engine_id = s.engine_id AND engine.minute_at = x.minute_at"
)


def roll_head(connection: Connection, kind: Kind, head: Head) -> None:
    at = "CAST(:minute_at AS TIMESTAMPTZ)" if words(connection).on_postgresql else ":minute_at"
    found = f"FROM {kind.samples} WHERE {head.chosen('node')} GROUP BY {', '.join(kind.keys)}"
    _roll(connection, kind, f"{', '.join(kind.keys)}, {at} AS minute_at", found, head.values)


def roll_hour(connection: Connection, kind: Kind, hour_at: datetime, until: datetime, upto: str) -> None:
    """The minutes from `hour_at` until `until` of nodes that are marked for that hour, up to a name."""
    at = words(connection).minute_of("sampled_at")
    found = (
        f"FROM {kind.samples} WHERE sampled_at >= :minute_at AND sampled_at < :until AND node IN "  # noqa: S608
        "(SELECT name FROM rollup_marks WHERE kind = :kind AND from_at = :minute_at AND name <= :upto) "
        f"GROUP BY {', '.join(kind.keys)}, {at}"
    )
    values: dict[str, str | datetime] = {
        "minute_at": hour_at,
        "until": until,
        "kind": kind.minutes_position,
        "upto": upto,
    }
    _roll(connection, kind, f"{', '.join(kind.keys)}, {at} AS minute_at", found, values)


def _roll(connection: Connection, kind: Kind, by: str, found: str, values: dict[str, str | datetime]) -> None:
    measured = ", ".join(f"{measure.of_samples} AS {measure.column}" for measure in kind.measures)
    computed = ("samples_count", *(measure.column for measure in kind.measures))
    minutes = f"SELECT {by}, MAX(sampled_at) AS last_at, COUNT(*) AS samples_count, {measured} {found}"
    busy = kind is DEVICES
    same = " AND ".join(f"s.{name} = x.{name}" for name in kind.keys)
    selected = [f"x.{name}" for name in (*kind.keys, "minute_at")]
    selected += [f"s.{name}" for name in kind.last] + [f"x.{name}" for name in computed] + ([_BUSY] if busy else [])
    rows = (
        f"SELECT {', '.join(selected)} FROM ({minutes}) AS x CROSS JOIN {kind.samples} AS s {_ENGINE if busy else ''} "  # noqa: S608
        f"WHERE {same} AND s.sampled_at = x.last_at AND s.sampled_at >= :minute_at AND s.sampled_at < :until"
    )
    keys = (*kind.keys, "minute_at")
    columns = (*keys, *kind.last, *computed, *(("busy_seconds",) if busy else ()))
    execute(connection, upsert(kind.minutes, keys, columns, rows), **values)
