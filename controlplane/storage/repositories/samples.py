"""Engines' samples: written in bulk, asked by engine, bucket and model. The SQL is in `engine_buckets`."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from controlplane.fleet.history import EngineHistoryRow, EngineSample
from controlplane.storage.repositories import engine_buckets, token_totals
from controlplane.storage.repositories.bulk_rows import BulkRows
from controlplane.storage.rollups.marks import mark_late
from controlplane.storage.tables import engine_samples

_ROWS = BulkRows(engine_samples, EngineSample)


class Samples:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append_many(self, samples: Sequence[EngineSample]) -> None:
        """Write samples; one that is there already (engine, instance and time) is left as it is.

        What comes after its minute was computed has its hour computed again.
        """
        _ROWS.write(self._connection, samples)
        mark_late(self._connection, "engine_minutes", ((sample.engine_id, sample.sampled_at) for sample in samples))

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

    def token_totals(self, since: datetime | None = None) -> dict[str, tuple[int | None, int | None]]:
        """Each model's prompt and generation tokens, exactly: of all time, or counted at or after `since`.

        Of all time means for as long as hours are kept; `since` must not be before what is kept of samples. None: not one
        sample of that model told it.
        """
        if since is None:
            return token_totals.of_all_time(self._connection)
        return engine_buckets.token_totals(self._connection, since)
