"""What is to be rolled up next. Each call does one step in its caller's transaction: a minute or an hour of so many engines.

Called by `repositories.rollups`, again and again until nothing is left. In this order: the minutes that are over, from the first
that was not computed; what came late; requests; hours. A device's minute comes after its engine's, which tells how long it was
busy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Table, func, select

from controlplane.storage.rollups import engines, gauges, hours, marks, recompute_bills, requests
from controlplane.storage.rollups.counters import Head, Stretch
from controlplane.storage.rollups.kinds import DEVICES, ENGINES, NODES, Kind
from controlplane.storage.rollups.marks import RECOMPUTE_MINUTES, REQUEST_HOURS, REQUEST_MINUTES
from controlplane.storage.rollups.positions import HOUR, MINUTE, Position, hour_of, minute_of, position, put
from controlplane.storage.rollups.words import execute, words
from controlplane.storage.tables import metadata, nodes, process_totals

SETTLED_AFTER = timedelta(seconds=15)  # what a minute's writers may take until it is computed
_KINDS = (ENGINES, DEVICES, NODES)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many at once: so that a transaction is short."""

    engines: int = 2_000
    nodes: int = 1_000
    late: int = 100  # engines or nodes, each with up to all that is kept of it
    hours: int = 1_000  # engines or nodes


@dataclass(frozen=True, slots=True)
class Step:
    kind: str
    at: datetime  # the minute or hour; of what came late, the first


def next_step(connection: Connection, now: datetime, sizes: Sizes) -> Step | None:
    """Do what is next; None: there is nothing to do."""
    if words(connection).on_postgresql:  # compiling these statements would take longer than they do
        execute(connection, "SET LOCAL jit = off")
        execute(connection, "SET LOCAL work_mem = '64MB'")
    settled = minute_of(now - SETTLED_AFTER)
    for step in (_head, _late, _requests, _hours):
        done = step(connection, settled, sizes)
        if done is not None:
            return done
    return None


def _head(connection: Connection, settled: datetime, sizes: Sizes) -> Step | None:
    def engine(head: Head) -> None:
        engines.roll_head(connection, head)

    def bill(head: Head) -> None:
        recompute_bills.roll(connection, head)

    def gauge(kind: Kind) -> Callable[[Head], None]:
        return lambda head: gauges.roll_head(connection, kind, head)

    by_process = (process_totals, "engine_id", sizes.engines)
    by_node = (nodes, "name", sizes.nodes)
    return (
        _next_minute(connection, ENGINES.minutes_position, ENGINES.samples, settled, by_process, engine)
        or _next_minute(connection, RECOMPUTE_MINUTES, recompute_bills.SOURCE.samples, settled, by_process, bill)
        or _next_minute(connection, DEVICES.minutes_position, DEVICES.samples, settled, by_node, gauge(DEVICES))
        or _next_minute(connection, NODES.minutes_position, NODES.samples, settled, by_node, gauge(NODES))
    )


def _next_minute(
    connection: Connection,
    kind: str,
    samples: str,
    settled: datetime,
    names: tuple[Table, str, int],
    roll: Callable[[Head], None],
) -> Step | None:
    known = position(connection, kind)
    if known is not None and known.done_until >= settled:
        return None
    at = _next_at(connection, samples, "sampled_at", known)
    if at is None or minute_of(at) >= settled:
        put(connection, kind, settled)
        return None
    minute_at, after = minute_of(at), known.done_name if known else ""
    upto = _nth_name(connection, *names, after)
    roll(Head(minute_at, minute_at + MINUTE, after, upto))
    put(connection, kind, minute_at if upto else minute_at + MINUTE, upto)
    return Step(kind, minute_at)


def _next_at(connection: Connection, table: str, column: str, known: Position | None) -> datetime | None:
    """The first row that is not computed. In between there is nothing to compute, be it for days."""
    if known is not None and known.done_name:
        return known.done_until
    at = metadata.tables[table].c[column]
    first = select(func.min(at)) if known is None else select(func.min(at)).where(at >= known.done_until)
    found: datetime | None = connection.scalar(first)
    return found


def _nth_name(connection: Connection, table: Table, column: str, count: int, after: str) -> str:
    """The name up to which there are so many; "" when there are fewer. Some may have no samples: it only has to cut well."""
    name = table.c[column]
    found: str | None = connection.scalar(select(name).where(name > after).order_by(name).limit(1).offset(count - 1))
    return found or ""


def _late(connection: Connection, settled: datetime, sizes: Sizes) -> Step | None:
    for kind in (ENGINES.minutes_position, RECOMPUTE_MINUTES):
        names = marks.names(connection, kind, sizes.late)
        known = position(connection, kind)
        if not names or known is None or known.done_name:
            continue
        first = marks.first(connection, kind) or settled
        stretch = Stretch(kind, names[-1], known.done_until)
        if kind == RECOMPUTE_MINUTES:
            recompute_bills.roll(connection, stretch)
        else:
            engines.roll_stretch(connection, stretch)
            _late_hours(connection, ENGINES, None, stretch.upto)
        marks.remove(connection, kind, stretch.upto)
        return Step(kind, first)
    for gauge in (DEVICES, NODES):
        kind = gauge.minutes_position
        hour_at, known = marks.first(connection, kind), position(connection, kind)
        if hour_at is None or known is None or known.done_name:
            continue
        upto = marks.names(connection, kind, sizes.late, hour_at)[-1]
        gauges.roll_hour(connection, gauge, hour_at, min(hour_at + HOUR, known.done_until), upto)
        _late_hours(connection, gauge, hour_at, upto)
        marks.remove(connection, kind, upto, hour_at)
        return Step(kind, hour_at)
    return None


def _late_hours(connection: Connection, kind: Kind, hour_at: datetime | None, upto: str) -> None:
    known = position(connection, kind.hours_position)
    if known is None:
        return
    done = known.done_until + HOUR if known.done_name else known.done_until
    until = done if hour_at is None else min(hour_at + HOUR, done)
    hours.roll_marked(connection, kind, hour_at, until, upto)


def _requests(connection: Connection, settled: datetime, sizes: Sizes) -> Step | None:
    for kind, length, roll in (
        (REQUEST_MINUTES, MINUTE, requests.roll_minute),
        (REQUEST_HOURS, HOUR, requests.roll_hour),
    ):
        at = marks.first(connection, kind)
        if at is not None and at + length <= settled:
            upto = marks.names(connection, kind, sizes.hours, at)[-1]
            roll(connection, at, at + length, upto)
            return Step(kind, at)
        done = settled if length == MINUTE else hour_of(settled)
        known = position(connection, kind)
        if known is None or known.done_until < done:
            put(connection, kind, done)
    return None


def _hours(connection: Connection, _: datetime, sizes: Sizes) -> Step | None:
    for kind in _KINDS:
        minutes, known = position(connection, kind.minutes_position), position(connection, kind.hours_position)
        if minutes is None:
            continue
        complete = hour_of(minutes.done_until)
        if known is not None and known.done_until >= complete:
            continue
        at = _next_at(connection, kind.minutes, "minute_at", known)
        if at is None or hour_of(at) >= complete:
            put(connection, kind.hours_position, complete)
            continue
        hour_at, after = hour_of(at), known.done_name if known else ""
        cut_by = (process_totals, "engine_id") if kind is ENGINES else (nodes, "name")
        upto = _nth_name(connection, *cut_by, sizes.hours, after)
        hours.roll(connection, kind, hour_at, hour_at + HOUR, after, upto)
        put(connection, kind.hours_position, hour_at if upto else hour_at + HOUR, upto)
        return Step(kind.hours_position, hour_at)
    return None
