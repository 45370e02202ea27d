"""Minutes of engines, from samples. Called by `steps`."""

from sqlalchemy import Connection

from controlplane.storage.rollups.counters import Head, Source, Stretch, gather, grown, keep_totals
from controlplane.storage.rollups.kinds import ENGINES
from controlplane.storage.rollups.words import execute, upsert, words
from controlplane.storage.tables.history import COUNTERS

SOURCE = Source(
    "engine_samples",
    "process_totals",
    ("engine_id", "instance_id"),
    COUNTERS,
    (("samples_count", "BIGINT", "COUNT(*)"), *(part for measure in ENGINES.measures for part in measure.parts)),
)


def roll_head(connection: Connection, head: Head) -> None:
    _roll(connection, head, "s.sampled_at >= :minute_at AND s.sampled_at < :until")


def roll_stretch(connection: Connection, stretch: Stretch) -> None:
    """Also has the devices' minutes computed again, which tell how long their engines were busy."""
    _roll(connection, stretch, "s.sampled_at < :until")
    hour = words(connection).hour_of("m.minute_at")
    execute(
        connection,
        "INSERT INTO rollup_marks (kind, from_at, name) "  # noqa: S608
        f"SELECT DISTINCT 'device_minutes', {hour}, m.node FROM {stretch.marked} "
        f"CROSS JOIN {ENGINES.minutes} AS m "
        "WHERE m.engine_id = marked.name AND m.minute_at >= marked.from_at AND m.minute_at < :until "
        "AND m.busy_seconds IS NOT NULL ON CONFLICT DO NOTHING",
        **stretch.values,
    )


def _roll(connection: Connection, span: Head | Stretch, chosen: str) -> None:
    gather(connection, SOURCE, span)
    last_instance = words(connection).value_at_last("instance_id", "last_at")
    by_minute = [
        "SUM(samples_count) AS samples_count",
        "COUNT(*) AS processes_count",
        *(f"{measure.of_parts} AS {measure.column}" for measure in ENGINES.measures),
        *(f"SUM({counter}_grown) AS {column}" for column, counter in ENGINES.counts),
    ]
    # A head is one minute: then SQLite takes what was gathered in its order instead of sorting it.
    at, by = (
        ("MIN(minute_at) AS minute_at", "engine_id")
        if isinstance(span, Head)
        else ("minute_at", "engine_id, minute_at")
    )
    minutes = (
        f"SELECT engine_id, {at}, MAX(last_at) AS last_at, {last_instance} AS last_instance, "  # noqa: S608
        f"{', '.join(by_minute)} FROM ({grown(connection, SOURCE, span)}) AS grown GROUP BY {by}"
    )
    computed = (
        "samples_count",
        "processes_count",
        *(m.column for m in ENGINES.measures),
        *(c for c, _ in ENGINES.counts),
    )
    rows = (
        f"SELECT x.engine_id, x.minute_at, {', '.join(f's.{name}' for name in ENGINES.last)}, "  # noqa: S608
        f"{', '.join(f'x.{name}' for name in computed)} FROM ({minutes}) AS x CROSS JOIN engine_samples AS s "
        f"WHERE s.engine_id = x.engine_id AND s.instance_id = x.last_instance AND s.sampled_at = x.last_at AND {chosen}"
    )
    keys = ("engine_id", "minute_at")
    statement = upsert(ENGINES.minutes, keys, (*keys, *ENGINES.last, *computed), rows)
    execute(connection, statement, **span.values)
    keep_totals(connection, SOURCE)
