"""Counters of engine processes, turned into what was counted in a stretch of time. Used by `samples` only.

A counter starts at zero with its process (`instance_id`) and only grows. So what a sample adds is its value less the
highest one known before it, of the same process: found by a window function inside the stretch, and by one look-up in
the index per counter for what came before the stretch. This holds when readings are missing (the next one brings what
they would have) and when the daemon's clock stepped back (nothing counts twice). It makes sums exact: all that the
samples of a process add is its highest value. It is never negative, and an unknown reading adds nothing known (NULL).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Row,
    Select,
    Subquery,
    Table,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import BigInteger

from controlplane.errors import InvalidInputError
from controlplane.fleet.history import EngineHistoryRow
from controlplane.storage.tables import engine_samples, process_totals, rolled_engine_hours, rolled_engine_minutes
from controlplane.storage.tables.rollups import counted

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = ("engine_id", "node", "provider", "region", "model")
_COUNTERS = (  # those that history tells; each costs a look-up
    "prompt_tokens_total",
    "generation_tokens_total",
    "steps_total",
    "step_tokens_total",
    "prefix_query_tokens_total",
    "prefix_hit_tokens_total",
    "preemptions_total",
    "ttft_count_total",
    "flops_total",
    "bytes_total",
    "ttft_seconds_sum_total",
)


class _EpochMicroseconds(FunctionElement[int]):
    """A UtcTimestamp as whole microseconds since 1970, exactly."""

    type = BigInteger()
    inherit_cache = True
    name = "epoch_microseconds"


@compiles(_EpochMicroseconds, "sqlite")
def _on_sqlite(element: _EpochMicroseconds, compiler: Any, **kw: Any) -> str:
    at = compiler.process(element.clauses, **kw)
    # Whole seconds and the rest apart: SQLite would round to milliseconds, and so into the next bucket.
    return f"(CAST(strftime('%s', substr({at}, 1, 19)) AS INTEGER) * 1000000 + CAST(substr({at}, 21, 6) AS INTEGER))"


@compiles(_EpochMicroseconds, "postgresql")
def _on_postgresql(element: _EpochMicroseconds, compiler: Any, **kw: Any) -> str:
    return f"CAST(EXTRACT(EPOCH FROM {compiler.process(element.clauses, **kw)}) * 1000000 AS BIGINT)"


def history(
    connection: Connection,
    since: datetime,
    until: datetime,
    wanted: Mapping[str, str],
    bucket_seconds: float,
    limit: int,
    minutes_until: datetime | None = None,
    hours_until: datetime | None = None,
) -> list[EngineHistoryRow]:
    """See `Samples.history` and `Rollups.history`; `wanted` are names to match, where "" matches all.

    Before `hours_until` hours are taken, then minutes before `minutes_until`, then samples.
    """
    bucket_microseconds = round(bucket_seconds * 1_000_000)
    if bucket_microseconds < 1:
        raise InvalidInputError("a bucket must be longer than zero seconds")
    sampled_since = since if minutes_until is None else max(since, minutes_until)
    minutes_since = since.replace(second=0, microsecond=0) if hours_until is None else max(since, hours_until)
    matching = {name: value for name, value in wanted.items() if value}
    parts = []
    if sampled_since < until or minutes_until is None:
        parts.append(_of_samples(sampled_since, until, matching, bucket_microseconds))
    if minutes_until is not None:
        span = (minutes_since, min(until, minutes_until))
        parts.append(_of_rolled(rolled_engine_minutes, "minute_at", span, matching, bucket_microseconds))
    if hours_until is not None:
        span = (since.replace(minute=0, second=0, microsecond=0), min(until, hours_until))
        parts.append(_of_rolled(rolled_engine_hours, "hour_at", span, matching, bucket_microseconds))
    rows = connection.execute(_buckets(union_all(*parts).subquery("counted")).limit(limit)).all()
    return [_fact(row, bucket_microseconds) for row in reversed(rows)]


def token_totals(connection: Connection, since: datetime) -> dict[str, tuple[int | None, int | None]]:
    """See `Samples.token_totals`."""
    counters = ("prompt_tokens_total", "generation_tokens_total")
    in_range = select(engine_samples).where(engine_samples.c.sampled_at >= since).cte("in_range")
    counted = _counted_before(in_range, since, counters)
    grown = [_growth(counted.c[f"{name}_top"], counted.c[f"{name}_before"]) for name in counters]
    totals = select(counted.c.model, *(func.sum(value) for value in grown)).group_by(counted.c.model)
    return {model: (_whole(prompt), _whole(generation)) for model, prompt, generation in connection.execute(totals)}


def _counted_before(in_range: CTE, since: datetime, counters: Sequence[str] = _COUNTERS) -> CTE:
    """Per process in range: each counter's highest value there (`_top`) and its last known one before (`_before`)."""
    columns: list[ColumnElement[Any]] = [in_range.c.engine_id, in_range.c.instance_id]
    columns.append(func.max(in_range.c.model).label("model"))
    for name in counters:
        top, first = func.max(in_range.c[name]), func.min(in_range.c[name])
        columns.append(top.label(f"{name}_top"))
        earlier = engine_samples.alias()
        last_known = (
            select(earlier.c[name])
            .where(
                earlier.c.engine_id == in_range.c.engine_id,
                earlier.c.instance_id == in_range.c.instance_id,
                earlier.c.sampled_at < since,
                earlier.c[name].is_not(None),
            )
            .order_by(earlier.c.sampled_at.desc())
            .limit(1)
            .scalar_subquery()
            .correlate(in_range)
        )
        # A counter that this process does not have would make the look-up read its whole past in vain.
        # Of a process whose samples from before are forgotten, what it told first was counted at an unknown time.
        known = case((top.is_not(None), func.coalesce(last_known, case((_began_before(in_range, since), first)))))
        columns.append(func.coalesce(known, 0).label(f"{name}_before"))
    return select(*columns).group_by(in_range.c.engine_id, in_range.c.instance_id).cte("processes")


def _began_before(in_range: CTE, since: datetime) -> ColumnElement[bool]:
    return (
        exists()
        .where(
            process_totals.c.engine_id == in_range.c.engine_id,
            process_totals.c.instance_id == in_range.c.instance_id,
            process_totals.c.first_sampled_at < since,
        )
        .correlate(in_range)
    )


def _growth(value: ColumnElement[Any], before: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((value.is_(None), null()), (value > before, value - before), else_=0)


def _of_samples(since: datetime, until: datetime, wanted: Mapping[str, str], bucket_microseconds: int) -> Select[Any]:
    """Each sample with its bucket's number and what it adds to each counter."""
    chosen = [engine_samples.c.sampled_at >= since, engine_samples.c.sampled_at < until]
    chosen += [engine_samples.c[name] == value for name, value in wanted.items()]
    in_range = select(engine_samples).where(*chosen).cte("in_range")
    processes = _counted_before(in_range, since)
    # In a step of its own, since SQLite would compute a window function anew wherever it is mentioned; and in words,
    # since bound parameters in the frame would make it take equal windows for different ones.
    process = (
        "(PARTITION BY engine_id, instance_id ORDER BY sampled_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    )
    seen: list[ColumnElement[Any]] = [
        literal_column(f"MAX({name}) OVER {process}").label(f"{name}_seen") for name in _COUNTERS
    ]
    given = select(in_range, *seen).cte("seen_before").c
    ratio = case((given.kv_capacity_tokens > 0, given.kv_used_tokens * 1.0 / given.kv_capacity_tokens))
    columns: list[ColumnElement[Any]] = [(_EpochMicroseconds(given.sampled_at) // bucket_microseconds).label("bucket")]
    columns += [given[name] for name in _NAMES]
    columns += [literal(1).label("samples_count"), ratio.label("kv_used_ratio_max"), ratio.label("kv_used_ratio_mean")]
    columns += [given.running_count.label("running_count_mean"), given.waiting_count.label("waiting_count_max")]
    for name in _COUNTERS:
        here, earlier = given[f"{name}_seen"], processes.c[f"{name}_before"]
        columns.append(_growth(given[name], case((here > earlier, here), else_=earlier)).label(name))
    same_process = and_(processes.c.engine_id == given.engine_id, processes.c.instance_id == given.instance_id)
    return select(*columns).join_from(given.engine_id.table, processes, same_process)


def _of_rolled(
    table: Table, at: str, span: tuple[datetime, datetime], wanted: Mapping[str, str], bucket_microseconds: int
) -> Select[Any]:
    """Each minute or hour with its bucket's number, in the columns of `_of_samples`."""
    given = table.c
    columns: list[ColumnElement[Any]] = [(_EpochMicroseconds(given[at]) // bucket_microseconds).label("bucket")]
    columns += [given[name] for name in _NAMES]
    columns += [given.samples_count, given.kv_used_ratio_max, given.kv_used_ratio_mean]
    columns += [given.running_count_mean, given.waiting_count_max]
    columns += [given[counted(name)].label(name) for name in _COUNTERS]
    chosen = [given[at] >= span[0], given[at] < span[1], *(given[name] == value for name, value in wanted.items())]
    return select(*columns).where(*chosen)


def _buckets(parts: Subquery) -> Select[Any]:
    keys = [parts.c.bucket, *(parts.c[name] for name in _NAMES)]

    def mean(name: str) -> ColumnElement[Any]:
        weights = func.sum(case((parts.c[name].is_not(None), parts.c.samples_count)))
        return func.sum(parts.c[name] * 1.0 * parts.c.samples_count) / func.nullif(weights, 0)

    return (
        select(
            *keys,
            func.sum(parts.c.samples_count).label("samples_count"),
            func.max(parts.c.kv_used_ratio_max).label("kv_used_ratio_max"),
            mean("kv_used_ratio_mean").label("kv_used_ratio_mean"),
            mean("running_count_mean").label("running_count_mean"),
            func.max(parts.c.waiting_count_max).label("waiting_count_max"),
            *(func.sum(parts.c[name]).label(name) for name in _COUNTERS),
        )
        .group_by(*keys)
        .order_by(*(key.desc() for key in keys))
    )


def _fact(row: Row[Any], bucket_microseconds: int) -> EngineHistoryRow:
    return EngineHistoryRow(
        bucket_at=_EPOCH + timedelta(microseconds=row.bucket * bucket_microseconds),
        engine_id=row.engine_id,
        node=row.node,
        provider=row.provider,
        region=row.region,
        model=row.model,
        samples_count=int(row.samples_count),
        kv_used_ratio_max=_real(row.kv_used_ratio_max),
        kv_used_ratio_mean=_real(row.kv_used_ratio_mean),
        running_count_mean=_real(row.running_count_mean),
        waiting_count_max=_real(row.waiting_count_max),
        prompt_tokens=_whole(row.prompt_tokens_total),
        generation_tokens=_whole(row.generation_tokens_total),
        batch_tokens_per_step=_quotient(row.step_tokens_total, row.steps_total),
        intensity_flops_per_byte=_quotient(row.flops_total, row.bytes_total),
        prefix_hit_ratio=_quotient(row.prefix_hit_tokens_total, row.prefix_query_tokens_total),
        preemptions_count=_whole(row.preemptions_total),
        ttft_seconds_mean=_quotient(row.ttft_seconds_sum_total, row.ttft_count_total),
    )


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _real(value: Any) -> float | None:
    return None if value is None else float(value)


def _quotient(part: Any, whole: Any) -> float | None:
    """None when one of them is unknown, and when nothing happened: that is not a ratio of zero."""
    return None if part is None or not whole else float(part) / float(whole)
