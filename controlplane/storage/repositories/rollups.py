"""Minutes and hours: computing them, step by step, and how far that is. The SQL is in `storage.rollups`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from controlplane.fleet.history import EngineHistoryRow
from controlplane.storage.repositories import engine_buckets
from controlplane.storage.rollups import marks, positions
from controlplane.storage.rollups.positions import Position
from controlplane.storage.rollups.steps import Sizes, Step, next_step

MINUTE_SECONDS, HOUR_SECONDS = 60, 3_600


class Resolution(StrEnum):
    """Of what an answer about the past is made."""

    SAMPLES = "samples"
    MINUTES = "minutes"
    HOURS = "hours"

    @property
    def seconds(self) -> float:
        """A bucket is a multiple of it; 0: any length."""
        return {"samples": 0, "minutes": MINUTE_SECONDS, "hours": HOUR_SECONDS}[self]


class Rollups:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def step(self, now: datetime, sizes: Sizes | None = None) -> Step | None:
        """Compute the next minute or hour that can be; None: all is done until `now`."""
        return next_step(self._connection, now, sizes or Sizes())

    def positions(self) -> Mapping[str, Position]:
        """By kind: until when all is computed (`engine_minutes`) or forgotten (`engine_samples`)."""
        return positions.positions(self._connection)

    def resolution(self, since: datetime, bucket_seconds: float) -> Resolution:
        """The finest of samples, minutes and hours that tells of all since then and that such buckets need."""
        known = self.positions()

        def kept(table: str) -> bool:
            return table not in known or known[table].done_until <= since

        if kept("engine_samples") and (bucket_seconds < MINUTE_SECONDS or "engine_minutes" not in known):
            return Resolution.SAMPLES
        if kept("rolled_engine_minutes") and (bucket_seconds < HOUR_SECONDS or "engine_hours" not in known):
            return Resolution.MINUTES
        return Resolution.HOURS

    def history(
        self,
        since: datetime,
        until: datetime,
        wanted: Mapping[str, str],
        bucket_seconds: float,
        limit: int,
        resolution: Resolution,
    ) -> list[EngineHistoryRow]:
        """As `Samples.history`, but of hours and minutes as far as they are computed; `wanted` are names, "" matches all.

        A bucket is as long as some minutes or hours; `since` is taken to lie at the beginning of one.
        """
        known = self.positions()
        minutes, hours = known.get("engine_minutes"), known.get("engine_hours")
        return engine_buckets.history(
            self._connection,
            since,
            until,
            wanted,
            bucket_seconds,
            limit,
            minutes_until=minutes.done_until if minutes and resolution is not Resolution.SAMPLES else None,
            hours_until=hours.done_until if hours and resolution is Resolution.HOURS else None,
        )

    def mark_samples(self, rows: Iterable[tuple[str, datetime]]) -> int:
        """Have the hours of these (engine, time of a sample) computed again. How many are too old for it.

        Whoever appends samples need not call it: samples that come late are marked when they are appended.
        """
        return marks.mark_late(self._connection, "engine_minutes", rows)

    def mark_requests(self, rows: Iterable[tuple[str, datetime]]) -> int:
        """Have the minutes of these (engine, time of a request's end) computed. How many are too old for it.

        Whoever appends requests need not call it.
        """
        return marks.mark_requests(self._connection, rows)
