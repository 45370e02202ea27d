"""Engines' samples: written in bulk, asked by engine, bucket and model. The SQL is in `engine_buckets`."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from math import isfinite
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists

from controlplane.fleet.history import EngineHistoryRow, EngineSample
from controlplane.storage.repositories import engine_buckets
from controlplane.storage.repositories.statements import add_new_rows
from controlplane.storage.tables import engine_samples
from controlplane.storage.tables.history import REAL_COUNTERS

_FIELDS = [field.name for field in fields(EngineSample)]
_VALUES = attrgetter(*_FIELDS)


class Samples:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append_many(self, samples: Sequence[EngineSample]) -> None:
        """Write samples; one that is there already (engine, instance and time) is left as it is."""
        add_new_rows(self._connection, engine_samples, [_row(sample) for sample in samples])

    def history(
        self,
        since: datetime,
        until: datetime,
        engine_id: str = "",
        model: str = "",
        node: str = "",
        bucket_seconds: float = 60.0,
        limit: int = 10_000,
    ) -> list[EngineHistoryRow]:
        """The samples of [since, until) by engine and bucket, oldest first; "" matches all.

        Of more than `limit` rows the newest are kept: ask for one more to know. A bucket begins at a multiple of
        `bucket_seconds` since 1970. What was counted between two samples belongs to the bucket of the later one.
        """
        wanted = {"engine_id": engine_id, "model": model, "node": node}
        return engine_buckets.history(self._connection, since, until, wanted, bucket_seconds, limit)

    def remove_before(self, at: datetime) -> int:
        """Forget older samples. How many went.

        The newest old sample of a process that was sampled since stays: what the next one counted is told from it.
        """
        newer, between = engine_samples.alias("newer"), engine_samples.alias("between")

        def same_process(other: Any) -> ColumnElement[bool]:
            return and_(
                other.c.engine_id == engine_samples.c.engine_id, other.c.instance_id == engine_samples.c.instance_id
            )

        went_on = exists().where(same_process(newer), newer.c.sampled_at >= at)
        newest_old = ~exists().where(
            same_process(between), between.c.sampled_at > engine_samples.c.sampled_at, between.c.sampled_at < at
        )
        old = delete(engine_samples).where(engine_samples.c.sampled_at < at, ~and_(went_on, newest_old))
        return self._connection.execute(old).rowcount

    def token_totals(self, since: datetime | None = None) -> dict[str, tuple[int | None, int | None]]:
        """Each model's prompt and generation tokens, exactly: of all samples, or counted at or after `since`.

        None: not one sample of that model told it.
        """
        return engine_buckets.token_totals(self._connection, since)


def _row(sample: EngineSample) -> dict[str, Any]:
    row = dict(zip(_FIELDS, _VALUES(sample), strict=True))
    for name in REAL_COUNTERS:
        value = row[name]
        if value is not None and not isfinite(value):
            row[name] = None  # one NaN would make every later sum NaN
    return row
