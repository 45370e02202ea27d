"""Hours of engines, devices and nodes, from their minutes. Called by `steps`."""

from datetime import datetime

from sqlalchemy import Connection

from controlplane.storage.rollups.kinds import DEVICES, ENGINES, Kind
from controlplane.storage.rollups.measures import total
from controlplane.storage.rollups.words import execute, upsert, words

_BUSY = total("busy_seconds", "")


def roll(connection: Connection, kind: Kind, hour_at: datetime, until: datetime, after: str, upto: str) -> None:
    """One hour of those named after one and up to another; "": of all the rest."""
    name = kind.keys[0]
    chosen = (
        f"(SELECT DISTINCT {name} AS chosen FROM {kind.minutes} WHERE minute_at >= :from_at AND minute_at < :until "  # noqa: S608
        f"AND {name} > :after{f' AND {name} <= :upto' if upto else ''}) AS chosen"
    )
    values: dict[str, str | datetime] = {"from_at": hour_at, "until": until, "after": after}
    _roll(connection, kind, chosen, "", values | ({"upto": upto} if upto else {}))


def roll_marked(connection: Connection, kind: Kind, since: datetime | None, until: datetime, upto: str) -> None:
    """The hours before `until` of what has marks for its minutes up to a name: from `since`, or each from its first mark."""
    only = " AND from_at = :since" if since else ""
    chosen = (
        "(SELECT name AS chosen, MIN(from_at) AS marked_at FROM rollup_marks "  # noqa: S608
        f"WHERE kind = :kind AND name <= :upto{only} GROUP BY name) AS chosen"
    )
    values: dict[str, str | datetime] = {"kind": kind.minutes_position, "until": until, "upto": upto}
    _roll(connection, kind, chosen, "chosen.marked_at", values | ({"since": since} if since else {}))


def _roll(connection: Connection, kind: Kind, chosen: str, since: str, values: dict[str, str | datetime]) -> None:
    speech = words(connection)
    keys = ", ".join(f"m.{key}" for key in kind.keys)
    hour = speech.hour_of("m.minute_at")
    measures = (*kind.measures, *((_BUSY,) if kind is DEVICES else ()))
    summed = ["SUM(samples_count) AS samples_count"]
    summed += [f"{measure.of_minutes} AS {measure.column}" for measure in measures]
    summed += [f"SUM({column}) AS {column}" for column, _ in kind.counts]
    in_hours = (
        f"SELECT {keys}, {hour} AS hour_at, MAX(m.minute_at) AS last_at, {', '.join(summed)} "  # noqa: S608
        f"FROM {chosen} CROSS JOIN {kind.minutes} AS m WHERE m.{kind.keys[0]} = chosen.chosen "
        f"AND m.minute_at >= {since or ':from_at'} AND m.minute_at < :until GROUP BY {keys}, {hour}"
    )
    computed = ("samples_count", *(m.column for m in measures), *(column for column, _ in kind.counts))
    selected = [f"x.{name}" for name in (*kind.keys, "hour_at")]
    selected += [f"s.{name}" for name in kind.last] + [f"x.{name}" for name in computed]
    columns = (*kind.keys, "hour_at", *kind.last, *computed)
    if kind is ENGINES:
        selected.append(
            "(SELECT COUNT(*) FROM process_totals AS p WHERE p.engine_id = x.engine_id "  # noqa: S608
            f"AND {speech.hour_of('p.first_sampled_at')} <= x.hour_at AND p.last_sampled_at >= x.hour_at)"
        )
        columns = (*columns, "processes_count")
    same = " AND ".join(f"s.{key} = x.{key}" for key in kind.keys)
    rows = (
        f"SELECT {', '.join(selected)} FROM ({in_hours}) AS x CROSS JOIN {kind.minutes} AS s "  # noqa: S608
        f"WHERE {same} AND s.minute_at = x.last_at AND s.minute_at < :until"
    )
    execute(connection, upsert(kind.hours, (*kind.keys, "hour_at"), columns, rows), **values)
