"""Tokens of all time: hours, the minutes after them, and what samples tell that is in no minute yet. Used by `samples` only."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, null, select, union_all

from controlplane.storage.rollups import marks
from controlplane.storage.rollups.kinds import ENGINES
from controlplane.storage.rollups.positions import position
from controlplane.storage.tables import engine_samples, process_totals, rolled_engine_hours, rolled_engine_minutes

_COUNTERS = {"prompt_tokens": "prompt_tokens_total", "generation_tokens": "generation_tokens_total"}


def of_all_time(connection: Connection) -> dict[str, tuple[int | None, int | None]]:
    """See `Samples.token_totals`."""
    minutes, hours = (position(connection, kind) for kind in (ENGINES.minutes_position, ENGINES.hours_position))
    samples = engine_samples.c
    fresh = []
    if minutes is not None:
        late = marks.first(connection, ENGINES.minutes_position)
        fresh.append(samples.sampled_at >= (minutes.done_until if late is None else min(late, minutes.done_until)))
    tops = (
        select(
            func.max(samples.model).label("model"),
            samples.engine_id,
            samples.instance_id,
            *(func.max(samples[counter]).label(counter) for counter in _COUNTERS.values()),
        )
        .where(*fresh)
        .group_by(samples.engine_id, samples.instance_id)
        .subquery("tops")
    )
    same = and_(process_totals.c.engine_id == tops.c.engine_id, process_totals.c.instance_id == tops.c.instance_id)
    grown = [_growth(tops.c[counter], process_totals.c[counter]) for counter in _COUNTERS.values()]
    at, hour_at = rolled_engine_minutes.c.minute_at, rolled_engine_hours.c.hour_at
    parts = union_all(
        select(tops.c.model, *(value.label(name) for name, value in zip(_COUNTERS, grown, strict=True))).join_from(
            tops, process_totals, same, isouter=True
        ),
        select(*(rolled_engine_minutes.c[name] for name in ("model", *_COUNTERS))).where(
            *([at >= hours.done_until] if hours else [])
        ),
        select(*(rolled_engine_hours.c[name] for name in ("model", *_COUNTERS))).where(
            *([hour_at < hours.done_until] if hours else [])
        ),
    ).subquery("parts")
    totals = select(parts.c.model, *(func.sum(parts.c[name]) for name in _COUNTERS)).group_by(parts.c.model)
    return {model: (_whole(prompt), _whole(generation)) for model, prompt, generation in connection.execute(totals)}


def _growth(top: ColumnElement[Any], before: ColumnElement[Any]) -> ColumnElement[Any]:
    known = func.coalesce(before, 0)
    return case((top.is_(None), null()), (top > known, top - known), else_=0)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
