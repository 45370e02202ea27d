"""Answer questions about the past from SQL. Called by `rpc.operator_service`; reads only."""

import math
from dataclasses import dataclass
from datetime import datetime

from controlplane.errors import InvalidInputError
from controlplane.fleet.history import EngineHistoryRow
from controlplane.storage.database import Database
from controlplane.storage.repositories.events import EventPage
from controlplane.storage.repositories.rollups import Resolution
from controlplane.storage.unit_of_work import UnitOfWork

ROWS_MAX = 10_000
EVENTS_DEFAULT = 200
EVENTS_MAX = 10_000
BUCKETS_WANTED = 60  # about as many as a screen shows
BUCKET_SECONDS_MIN = 1.0
NICE_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class EngineHistoryQuery:
    since: datetime
    until: datetime
    engine_id: str = ""  # "": all
    model: str = ""
    node: str = ""
    bucket_seconds: float | None = None  # None: about BUCKETS_WANTED of them


@dataclass(frozen=True, slots=True)
class EngineHistory:
    rows: tuple[EngineHistoryRow, ...]
    truncated: bool
    bucket_seconds: float  # may be longer than asked for, where only minutes or hours are left
    resolution: Resolution  # of what most of it is made; what is not rolled up yet is told from samples


class QueryHistory:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def engines(self, query: EngineHistoryQuery) -> EngineHistory:
        """Raises InvalidInputError for a span that is none, UnavailableError when the database is away."""
        span = (query.until - query.since).total_seconds()
        if span <= 0:
            raise InvalidInputError("history runs forward: since must be before until")
        bucket = query.bucket_seconds if query.bucket_seconds is not None else nice_bucket_seconds(span)
        if not BUCKET_SECONDS_MIN <= bucket <= span * 2 + 86400:
            raise InvalidInputError(
                f"a bucket must be at least {BUCKET_SECONDS_MIN:.0f} s and not longer than the span"
            )
        wanted = {"engine_id": query.engine_id, "model": query.model, "node": query.node}

        def ask(uow: UnitOfWork) -> EngineHistory:
            resolution = uow.rollups.resolution(query.since, bucket)
            length = whole_multiple(bucket, resolution.seconds)
            rows = uow.rollups.history(query.since, query.until, wanted, length, ROWS_MAX + 1, resolution)
            return EngineHistory(tuple(rows[-ROWS_MAX:]), len(rows) > ROWS_MAX, length, resolution)

        return await self._database.read(ask)

    async def events(self, *, since: datetime | None, limit: int, node: str, engine_id: str, kind: str) -> EventPage:
        """The newest that match, oldest first; a limit of 0 means EVENTS_DEFAULT."""
        wanted = min(limit or EVENTS_DEFAULT, EVENTS_MAX)
        return await self._database.read(lambda uow: uow.events.list(since, wanted, node, engine_id, kind))


def whole_multiple(bucket_seconds: float, of_seconds: float) -> float:
    """The shortest multiple that is not shorter."""
    return math.ceil(bucket_seconds / of_seconds) * of_seconds if of_seconds else bucket_seconds


def nice_bucket_seconds(span_seconds: float) -> float:
    """A round bucket that cuts the span into at most BUCKETS_WANTED, or into days when it is very long."""
    for seconds in NICE_SECONDS:
        if span_seconds / seconds <= BUCKETS_WANTED:
            return float(seconds)
    return float(NICE_SECONDS[-1])
