"""The last known engines, for a daemon that starts."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, RowMapping, delete, select

from controlplane.fleet.summaries import EngineSummary
from controlplane.storage.repositories.bulk_rows import BulkRows
from controlplane.storage.tables import engine_summaries

_ROWS = BulkRows(engine_summaries, EngineSummary, replace=True)


class EngineSummaries:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_many(self, summaries: Iterable[EngineSummary]) -> None:
        """Add them, or replace those of the same engines. The last one of an engine wins."""
        latest = {summary.engine_id: summary for summary in summaries}
        _ROWS.write(self._connection, list(latest.values()))

    def all(self) -> list[EngineSummary]:
        """By engine."""
        found = select(engine_summaries).order_by(engine_summaries.c.engine_id)
        return [_fact(row) for row in self._connection.execute(found).mappings()]

    def remove(self, engine_ids: Sequence[str]) -> None:
        """Forget engines whose placements are gone."""
        self._connection.execute(delete(engine_summaries).where(engine_summaries.c.engine_id.in_(engine_ids)))


def _fact(row: RowMapping) -> EngineSummary:
    return EngineSummary(**{**row, "served_paths": tuple(row["served_paths"])})
