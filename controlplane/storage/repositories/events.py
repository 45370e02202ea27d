"""The event log. Append-only.

Ids come from the one leader, in memory (`runtime.event_log`), so that consoles see an event with its id whether the
database is up or not. An event without an id gets the next one here: for commands that run without a daemon.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select

from controlplane.fleet.history import FleetEvent
from controlplane.storage.repositories.statements import add_new_rows
from controlplane.storage.tables import fleet_events


@dataclass(frozen=True, slots=True)
class EventPage:
    """Oldest first. `truncated`: older ones matched too and were left out."""

    events: list[FleetEvent]
    truncated: bool


class Events:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, events: Sequence[FleetEvent]) -> list[FleetEvent]:
        """Write the events; the same ones with their ids. An id that is there already is not written again."""
        numbered = []
        last_id = self.last_id() if any(event.event_id == 0 for event in events) else 0
        for event in events:
            last_id = max(last_id, event.event_id) if event.event_id else last_id + 1
            numbered.append(event if event.event_id else replace(event, event_id=last_id))
        add_new_rows(self._connection, fleet_events, [_row(event) for event in numbered])
        return numbered

    def last_id(self) -> int:
        """The highest id ever written; 0 when there is none. Retention must keep the newest event for its sake."""
        return self._connection.scalar(select(func.max(fleet_events.c.event_id))) or 0

    def latest(self, count: int) -> list[FleetEvent]:
        """The newest events, oldest first."""
        return self.list(limit=count).events

    def list(
        self, since: datetime | None = None, limit: int = 200, node: str = "", engine_id: str = "", kind: str = ""
    ) -> EventPage:
        """The newest `limit` events that match, oldest first; "" matches all."""
        found = select(fleet_events).order_by(fleet_events.c.at.desc(), fleet_events.c.event_id.desc())
        if since is not None:
            found = found.where(fleet_events.c.at >= since)
        for column, wanted in (("node", node), ("engine_id", engine_id), ("kind", kind)):
            if wanted:
                found = found.where(fleet_events.c[column] == wanted)
        newest_first = [FleetEvent(**row) for row in self._connection.execute(found.limit(limit + 1)).mappings()]
        return EventPage(newest_first[:limit][::-1], truncated=len(newest_first) > limit)

    def before(self, at: datetime, limit: int) -> Sequence[FleetEvent]:
        """The last `limit` events before `at`, oldest first."""
        found = select(fleet_events).where(fleet_events.c.at < at)
        newest = found.order_by(fleet_events.c.at.desc(), fleet_events.c.event_id.desc()).limit(limit)
        return [FleetEvent(**row) for row in self._connection.execute(newest).mappings()][::-1]

    def remove_before(self, at: datetime) -> int:
        """Forget older events, but never the newest of all: its number is where the next one goes on. How many went."""
        newest = select(func.max(fleet_events.c.event_id)).scalar_subquery()
        old = delete(fleet_events).where(fleet_events.c.at < at, fleet_events.c.event_id < newest)
        return self._connection.execute(old).rowcount


def _row(event: FleetEvent) -> dict[str, Any]:
    return {column.name: getattr(event, column.name) for column in fleet_events.columns}
