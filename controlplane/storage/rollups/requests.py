"""Minutes and hours of requests by engine, tenant and model, with their latencies' histograms. Called by `steps`.

A minute is computed from all its requests whenever some came, an hour from all its minutes: what is marked tells which.
"""

from datetime import datetime

from sqlalchemy import Connection

from controlplane.storage.rollups.latency import KEYS, QUANTILES, bucket_of, quantiles
from controlplane.storage.rollups.marks import REQUEST_HOURS, REQUEST_MINUTES, remove
from controlplane.storage.rollups.words import execute, upsert, words
from controlplane.storage.tables.rollups import MEASURES, OUTCOME_COUNTS

# No request has more tokens or takes longer: what tells more is unknown, and overflows nothing.
_TOKENS_MAX = 2**40
_SECONDS_MAX = 1e9

_PLACE = ("node", "provider", "region")
_TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")
_BILL = ("recompute_tokens", "recompute_flops", "recompute_seconds")
_IN_RECORDS = dict(zip(MEASURES, ("queue_seconds", "ttft_seconds", "inter_token_seconds_mean"), strict=True))
_SUMS = tuple(name for measure in MEASURES for name in (f"{measure}_sum", f"{measure.removesuffix('_seconds')}_count"))
_QUANTILES = tuple(f"{measure}_{name}" for measure in MEASURES for name in QUANTILES)
_COUNTS = ("requests_count", *OUTCOME_COUNTS, *_TOKENS, *_SUMS)
_MARKED = "(SELECT name FROM rollup_marks WHERE kind = :kind AND from_at = :from_at AND name <= :upto)"
_OF_KEYS = ", ".join(KEYS)


def roll_minute(connection: Connection, minute_at: datetime, until: datetime, upto: str) -> None:
    """One minute of the engines that are marked for it, up to a name."""
    values: dict[str, str | datetime] = {"kind": REQUEST_MINUTES, "from_at": minute_at, "until": until, "upto": upto}
    chosen = f"finished_at >= :from_at AND finished_at < :until AND engine_id IN {_MARKED}"
    aggregates = ["COUNT(*) AS requests_count"]
    aggregates += [
        f"SUM(CASE WHEN outcome = '{name.removesuffix('_count')}' THEN 1 ELSE 0 END) AS {name}"
        for name in OUTCOME_COUNTS
    ]
    aggregates += [f"SUM(CASE WHEN {name} <= {_TOKENS_MAX} THEN {name} END) AS {name}" for name in _TOKENS]
    histograms = []
    for measure, column in _IN_RECORDS.items():
        known = f"CASE WHEN {column} <= {_SECONDS_MAX!r} THEN {column} END"
        aggregates.append(f"SUM({known}) AS {measure}_sum")
        aggregates.append(f"COUNT({known}) AS {measure.removesuffix('_seconds')}_count")
        histograms.append(
            f"SELECT {_OF_KEYS}, '{measure}' AS measure, {bucket_of(column)} AS bucket FROM request_records "  # noqa: S608
            f"WHERE {chosen} AND {column} <= {_SECONDS_MAX!r}"
        )
    histogram = (
        f"SELECT {_OF_KEYS}, measure, bucket, COUNT(*) AS requests_count "  # noqa: S608
        f"FROM ({' UNION ALL '.join(histograms)}) AS sorted_in GROUP BY {_OF_KEYS}, measure, bucket"
    )
    summed = (
        f"SELECT {_OF_KEYS}, {', '.join(f'MAX({name}) AS {name}' for name in _PLACE)}, {', '.join(aggregates)} "  # noqa: S608
        f"FROM request_records WHERE {chosen} GROUP BY {_OF_KEYS}"
    )
    _replace(connection, "minute", histogram, summed, (*_PLACE, *_COUNTS), values)
    execute(
        connection,
        "INSERT INTO rollup_marks (kind, from_at, name) "  # noqa: S608
        f"SELECT '{REQUEST_HOURS}', {words(connection).hour_of('from_at')}, name FROM rollup_marks "
        "WHERE kind = :kind AND from_at = :from_at AND name <= :upto ON CONFLICT DO NOTHING",
        **values,
    )
    remove(connection, REQUEST_MINUTES, upto, minute_at)


def roll_hour(connection: Connection, hour_at: datetime, until: datetime, upto: str) -> None:
    """One hour of the engines that are marked for it, up to a name."""
    values: dict[str, str | datetime] = {"kind": REQUEST_HOURS, "from_at": hour_at, "until": until, "upto": upto}
    chosen = f"minute_at >= :from_at AND minute_at < :until AND engine_id IN {_MARKED}"
    histogram = (
        f"SELECT {_OF_KEYS}, measure, bucket, SUM(requests_count) AS requests_count FROM rolled_latency_minutes "  # noqa: S608
        f"WHERE {chosen} GROUP BY {_OF_KEYS}, measure, bucket"
    )
    summed = (
        f"SELECT {_OF_KEYS}, {', '.join(f'MAX({name}) AS {name}' for name in _PLACE)}, "  # noqa: S608
        f"{', '.join(f'SUM({name}) AS {name}' for name in (*_COUNTS, *_BILL))} "
        f"FROM rolled_request_minutes WHERE {chosen} GROUP BY {_OF_KEYS}"
    )
    _replace(connection, "hour", histogram, summed, (*_PLACE, *_COUNTS, *_BILL), values)
    remove(connection, REQUEST_HOURS, upto, hour_at)


def _replace(
    connection: Connection,
    unit: str,
    histogram: str,
    summed: str,
    columns: tuple[str, ...],
    values: dict[str, str | datetime],
) -> None:
    table, at = f"rolled_latency_{unit}s", f"{unit}_at"
    execute(connection, f"DELETE FROM {table} WHERE {at} = :from_at AND engine_id IN {_MARKED}", **values)  # noqa: S608
    began = "CAST(:from_at AS TIMESTAMPTZ)" if words(connection).on_postgresql else ":from_at"
    execute(
        connection,
        f"INSERT INTO {table} ({_OF_KEYS}, {at}, measure, bucket, requests_count) "  # noqa: S608
        f"SELECT {_OF_KEYS}, {began}, measure, bucket, requests_count FROM ({histogram}) AS histogram",
        **values,
    )
    kept = (
        f"SELECT {_OF_KEYS}, measure, bucket, requests_count FROM {table} "  # noqa: S608
        f"WHERE {at} = :from_at AND engine_id IN {_MARKED}"
    )
    same = " AND ".join(f"told.{name} = x.{name}" for name in KEYS)
    rows = (
        f"SELECT {', '.join(f'x.{name}' for name in KEYS)}, {began}, "  # noqa: S608
        f"{', '.join(f'x.{name}' for name in columns)}, {', '.join(f'told.{name}' for name in _QUANTILES)} "
        f"FROM ({summed}) AS x LEFT JOIN ({quantiles(kept)}) AS told ON {same} WHERE true"
    )
    execute(
        connection, upsert(f"rolled_request_{unit}s", (*KEYS, at), (*KEYS, at, *columns, *_QUANTILES), rows), **values
    )
