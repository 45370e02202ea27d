"""The recompute bill in minutes of requests, from samples by tenant. Called by `steps`.

It is told in the row of the same engine, tenant and model as the requests, which `requests` writes: each writes its own columns,
and whoever comes first makes the row.
"""

from sqlalchemy import Connection

from controlplane.storage.rollups.counters import Head, Source, Stretch, gather, grown, keep_totals
from controlplane.storage.rollups.marks import REQUEST_HOURS
from controlplane.storage.rollups.words import execute, upsert, words
from controlplane.storage.tables.rollups import OUTCOME_COUNTS
from controlplane.storage.tables.samples import RECOMPUTE_TOTALS

_NAMES = ("node", "provider", "region", "model")  # the same for all samples of a process
SOURCE = Source(
    "recompute_samples",
    "recompute_totals",
    ("engine_id", "instance_id", "tenant"),
    RECOMPUTE_TOTALS,
    tuple((name, "TEXT", f"MAX({name})") for name in _NAMES),
)
_BILL = {f"recompute_{counter.removesuffix('_total')}": counter for counter in RECOMPUTE_TOTALS}
_KEYS = ("engine_id", "tenant", "model", "minute_at")
_PLACE = ("node", "provider", "region")


def roll(connection: Connection, span: Head | Stretch) -> None:
    gather(connection, SOURCE, span)
    nothing = dict.fromkeys(("requests_count", *OUTCOME_COUNTS), "0")
    selected = [*_KEYS, *(f"MAX({name})" for name in _PLACE), *nothing.values()]
    selected += [f"SUM({counter}_grown)" for counter in _BILL.values()]
    rows = f"SELECT {', '.join(selected)} FROM ({grown(connection, SOURCE, span)}) AS grown GROUP BY {', '.join(_KEYS)}"  # noqa: S608
    columns = (*_KEYS, *_PLACE, *nothing, *_BILL)
    execute(connection, upsert("rolled_request_minutes", _KEYS, columns, rows, tuple(_BILL)), **span.values)
    hour = words(connection).hour_of("minute_at")
    execute(
        connection,
        "INSERT INTO rollup_marks (kind, from_at, name) "  # noqa: S608
        f"SELECT DISTINCT '{REQUEST_HOURS}', {hour}, engine_id FROM {SOURCE.gathered} WHERE true ON CONFLICT DO NOTHING",
    )
    keep_totals(connection, SOURCE)
