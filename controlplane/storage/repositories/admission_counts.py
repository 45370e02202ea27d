"""What became of clients' requests by minute: rows of one daemon, which replaces its own."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from controlplane.fleet.history import AdmissionCount
from controlplane.storage.repositories.bulk_rows import BulkRows
from controlplane.storage.tables import admission_counts

_ROWS = BulkRows(admission_counts, AdmissionCount, replace=True)


def key(count: AdmissionCount) -> tuple[object, ...]:
    """What makes a row one and the same."""
    return (count.minute_at, count.boot_id, count.tenant, count.model, count.reason)


class AdmissionCounts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_many(self, counts: Sequence[AdmissionCount]) -> None:
        """Add them, or replace those with the same key. Of two with one key the last wins."""
        _ROWS.write(self._connection, list({key(count): count for count in counts}.values()))

    def all(self) -> list[AdmissionCount]:
        """By minute."""
        found = select(admission_counts).order_by(*admission_counts.primary_key)
        return [AdmissionCount(**row) for row in self._connection.execute(found).mappings()]
