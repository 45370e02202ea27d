"""Counters of processes, minute by minute: what each grew by. Used by `engines` and `recompute_bills` only.

The rule is that of `repositories.engine_buckets`: a minute's growth is the process's highest reading in it less the highest one
known before, never negative, unknown where no reading is known. At the head "before" is told by totals, which move in the same
transaction, so that it does not matter which samples are still kept. Where rows came late it is told by the samples before the
stretch, and the stretch goes on to the head, so that all minutes of a process always add up to its highest reading.

The samples of one step are gathered in a temporary table by process and minute; `grown` adds what each counter grew by.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from controlplane.storage.rollups.kinds import growth_max
from controlplane.storage.rollups.measures import REAL, WHOLE
from controlplane.storage.rollups.words import execute, larger, smaller, upsert, words
from controlplane.storage.tables.history import REAL_COUNTERS

_REALS = {*REAL_COUNTERS, "seconds_total"}


@dataclass(frozen=True, slots=True)
class Source:
    samples: str
    totals: str
    process: tuple[str, ...]  # the first is the engine
    counters: tuple[str, ...]
    parts: tuple[tuple[str, str, str], ...]  # name, type, aggregate over a process's samples in a minute

    @property
    def gathered(self) -> str:
        return f"rolling_{self.samples}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of the engines that have marks of a kind, up to a name, all from their first mark until the head."""

    kind: str
    upto: str
    until: datetime

    @property
    def marked(self) -> str:
        return (
            "(SELECT name, MIN(from_at) AS from_at FROM rollup_marks "
            "WHERE kind = :kind AND name <= :upto GROUP BY name) AS marked"
        )

    @property
    def values(self) -> dict[str, str | datetime]:
        return {"kind": self.kind, "upto": self.upto, "until": self.until}


@dataclass(frozen=True, slots=True)
class Head:
    """One minute of the engines after a name, up to another one; "" at the end: all that are left."""

    minute_at: datetime
    until: datetime
    after: str
    upto: str

    @property
    def values(self) -> dict[str, str | datetime]:
        return {"minute_at": self.minute_at, "until": self.until, "after": self.after, "upto": self.upto}

    def chosen(self, name: str) -> str:
        # Not the bare column: SQLite would look for the names, of which there are all days, before the minute.
        upto = f" AND {name} || '' <= :upto" if self.upto else ""
        after = f" AND {name} || '' > :after" if self.after else ""
        return f"sampled_at >= :minute_at AND sampled_at < :until{after}{upto}"


def gather(connection: Connection, source: Source, span: Head | Stretch) -> None:
    """Fill the temporary table, which was made empty."""
    _prepare(connection, source)
    process = ", ".join(f"s.{name}" for name in source.process)
    parts = ["MIN(sampled_at)", "MAX(sampled_at)", *(part[2] for part in source.parts)]
    parts += [f"MAX({counter})" for counter in source.counters]
    if isinstance(span, Head):
        at, found = ":minute_at", f"{source.samples} AS s WHERE {span.chosen('s.engine_id')}"
    else:
        at = words(connection).minute_of("s.sampled_at")
        found = (
            f"{span.marked} CROSS JOIN {source.samples} AS s "
            "WHERE s.engine_id = marked.name AND s.sampled_at >= marked.from_at AND s.sampled_at < :until"
        )
    grouped = process if isinstance(span, Head) else f"{process}, {at}"
    values = span.values
    if isinstance(span, Head) and words(connection).on_postgresql:
        at = f"CAST({at} AS TIMESTAMPTZ)"
    execute(
        connection,
        f"INSERT INTO {source.gathered} SELECT {process}, {at}, {', '.join(parts)} FROM {found} GROUP BY {grouped}",  # noqa: S608
        **values,
    )


def grown(connection: Connection, source: Source, span: Head | Stretch) -> str:
    """A SELECT of what was gathered, with `{counter}_grown` beside."""
    before = _before_head(source) if isinstance(span, Head) else _before_stretch(source, span)
    growth = []
    for counter in source.counters:
        added = f"{counter} - COALESCE({counter}_before, 0)"
        growth.append(
            f"CASE WHEN {counter} IS NULL OR {added} > {growth_max(counter)} THEN NULL "
            f"WHEN {counter} > COALESCE({counter}_before, 0) THEN {added} ELSE 0 END AS {counter}_grown"
        )
    return f"SELECT known.*, {', '.join(growth)} FROM ({before}) AS known"  # noqa: S608


def keep_totals(connection: Connection, source: Source) -> None:
    """Move the totals on by what was gathered, and empty the temporary table."""
    process = ", ".join(source.process)
    tops = ", ".join(f"MAX({counter})" for counter in source.counters)
    rows = (
        f"SELECT {process}, MIN(first_at), MAX(last_at), {tops} FROM {source.gathered} "  # noqa: S608
        f"WHERE true GROUP BY {process}"
    )
    columns = (*source.process, "first_sampled_at", "last_sampled_at", *source.counters)
    statement = upsert(source.totals, source.process, columns, rows, ())
    kept = [
        f"first_sampled_at = {smaller(f'{source.totals}.first_sampled_at', 'excluded.first_sampled_at')}",
        *(
            f"{name} = {larger(f'{source.totals}.{name}', f'excluded.{name}')}"
            for name in ("last_sampled_at", *source.counters)
        ),
    ]
    execute(connection, statement + ", ".join(kept))
    execute(connection, f"DELETE FROM {source.gathered}")  # noqa: S608


def _prepare(connection: Connection, source: Source) -> None:
    speech = words(connection)
    columns = [f"{name} TEXT" for name in source.process]
    columns += [f"{name} {speech.time_type}" for name in ("minute_at", "first_at", "last_at")]
    columns += [f"{name} {kind}" for name, kind, _ in source.parts]
    columns += [f"{name} {REAL if name in _REALS else WHOLE}" for name in source.counters]
    made = f"CREATE TEMPORARY TABLE IF NOT EXISTS {source.gathered} ({', '.join(columns)}"
    if speech.on_postgresql:
        execute(connection, f"{made}) ON COMMIT DELETE ROWS")
    else:
        execute(connection, f"{made}, PRIMARY KEY ({', '.join(source.process)}, minute_at)) WITHOUT ROWID")
    execute(connection, f"DELETE FROM {source.gathered}")  # noqa: S608


def _before_head(source: Source) -> str:
    befores = ", ".join(f"totals.{counter} AS {counter}_before" for counter in source.counters)
    same = " AND ".join(f"totals.{name} = gathered.{name}" for name in source.process)
    return (
        f"SELECT gathered.*, {befores} FROM {source.gathered} AS gathered "  # noqa: S608
        f"LEFT JOIN {source.totals} AS totals ON {same}"
    )


def _before_stretch(source: Source, span: Stretch) -> str:
    """The highest of the minutes before in the stretch, and of the samples before it.

    A process that was seen before the stretch, but of whose samples none is kept from there, has counted what it tells first at
    an unknown time: that adds nothing.
    """
    process = ", ".join(f"gathered.{name}" for name in source.process)
    over = f"OVER (PARTITION BY {process}"
    earlier = (
        f"SELECT {', '.join(f's.{name}' for name in source.process)}, "  # noqa: S608
        + ", ".join(f"MAX(s.{counter}) AS {counter}" for counter in source.counters)
        + f" FROM {span.marked} CROSS JOIN {source.samples} AS s "
        "WHERE s.engine_id = marked.name AND s.sampled_at < marked.from_at "
        f"GROUP BY {', '.join(f's.{name}' for name in source.process)}"
    )
    forgotten = "earlier.engine_id IS NULL AND totals.first_sampled_at < marked.from_at"
    seen, columns = [], []
    for counter in source.counters:
        seen.append(
            f"MAX(gathered.{counter}) {over} ORDER BY gathered.minute_at "
            f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS {counter}_seen"
        )
        seen.append(
            f"CASE WHEN {forgotten} THEN MIN(gathered.{counter}) {over}) ELSE earlier.{counter} END AS {counter}_base"
        )
        columns.append(f"{larger(f'{counter}_seen', f'{counter}_base')} AS {counter}_before")

    def same(other: str) -> str:
        return " AND ".join(f"{other}.{name} = gathered.{name}" for name in source.process)

    return (
        f"SELECT seen.*, {', '.join(columns)} FROM ("  # noqa: S608
        f"SELECT gathered.*, {', '.join(seen)} FROM {source.gathered} AS gathered "
        f"JOIN {span.marked} ON marked.name = gathered.engine_id "
        f"LEFT JOIN ({earlier}) AS earlier ON {same('earlier')} "
        f"LEFT JOIN {source.totals} AS totals ON {same('totals')}) AS seen"
    )
