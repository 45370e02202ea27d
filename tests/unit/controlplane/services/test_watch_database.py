"""When the database is away, what is told of it, and when it is back."""

from collections.abc import Callable
from typing import TypeVar, cast

import pytest

from controlplane.errors import DatabaseAwayError, DatabaseDamagedError, StokerError
from controlplane.fleet.history import FleetEvent
from controlplane.services.watch_database import DatabaseHealth, WatchDatabase
from controlplane.storage.batch_writer import BatchWriter
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork
from tests.support.clock import START, SettableClock

T = TypeVar("T")
FULL = "the database's disk is full: free space on it"


class ToldDatabase:
    """Does what it is told to, and tells whoever listens."""

    def __init__(self) -> None:
        self.trouble: StokerError | None = None
        self.progress: int | None = None
        self.heard: Callable[[StokerError | None], None] = lambda _: None

    def listen(self, heard: Callable[[StokerError | None], None]) -> None:
        self.heard = heard

    async def run(self, fn: Callable[[UnitOfWork], T]) -> T | None:
        self.heard(self.trouble)
        if self.trouble is not None:
            raise self.trouble
        return None

    run_background = run


class Watched:
    def __init__(self) -> None:
        self.database, self.clock = ToldDatabase(), SettableClock()
        database = cast("Database", self.database)
        self.samples: BatchWriter[int] = BatchWriter("samples", lambda _u, _r: None, database, self.clock, 1.0, 2, 4)
        self.rows: BatchWriter[FleetEvent] = BatchWriter("events", lambda _u, _r: None, database, self.clock, 1.0, 2, 4)
        self.told: list[FleetEvent] = []
        self.watch = WatchDatabase(database, (self.samples,), self.rows, self._tell, self.clock)

    def _tell(self, events: list[FleetEvent]) -> None:
        self.told += events
        self.rows.add(events)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_database_that_works_is_no_news(watched: Watched) -> None:
    watched.database.heard(None)
    assert not watched.watch.look()
    assert watched.watch.health() == DatabaseHealth()
    assert watched.told == []


async def test_away_is_told_once_and_back_when_everybody_could_write(watched: Watched) -> None:
    watched.database.trouble = DatabaseAwayError(FULL)
    watched.samples.add([1, 2, 3, 4])
    assert not await watched.samples.flush()
    assert not await watched.rows.flush()
    health = watched.watch.health()
    assert (health.away_since, health.problem) == (START, FULL)
    assert (health.samples_waiting_count, health.events_waiting_count) == (4, 1)
    assert watched.kinds() == ["database_away"]
    assert FULL in watched.told[0].message

    watched.clock.advance(600)
    watched.samples.add([5])
    watched.database.trouble = None
    assert await watched.rows.flush()
    watched.watch.look()
    assert watched.watch.health().away_since == START, "samples could not be written yet"
    assert await watched.samples.flush()
    watched.watch.look()
    assert watched.watch.health() == DatabaseHealth(samples_dropped_total=1, events_waiting_count=2)
    assert watched.kinds() == ["database_away", "history_dropped", "database_back"]
    assert "after 10 min: lost, since memory was full: 1 sample" in watched.told[-1].message


async def test_nothing_lost_is_said_so(watched: Watched) -> None:
    watched.database.heard(DatabaseAwayError(FULL))
    watched.clock.advance(5)
    watched.database.heard(None)
    watched.watch.look()
    assert watched.told[-1].message == "the database is written to again, after 5 s: nothing was lost"


def test_a_change_that_does_not_end_is_told_although_nothing_failed(watched: Watched) -> None:
    watched.database.progress = 1
    watched.watch.look()
    watched.clock.advance(74)
    watched.watch.look()
    watched.database.progress = 2
    watched.watch.look()
    watched.clock.advance(74)
    assert not watched.watch.look()
    assert watched.told == [], "two changes, each quick enough"
    watched.clock.advance(1)
    watched.watch.look()
    assert "worked on one change for 75 s" in watched.watch.health().problem
    watched.database.progress = None
    watched.database.heard(None)
    watched.watch.look()
    assert watched.kinds() == ["database_away", "database_back"]


def test_damage_is_told_for_a_while_although_other_tables_are_written(watched: Watched) -> None:
    watched.database.heard(DatabaseDamagedError("damaged: restore a backup"))
    watched.database.heard(None)
    watched.watch.look()
    assert watched.watch.health().problem == "damaged: restore a backup"
    watched.clock.advance(60)
    watched.watch.look()
    assert watched.watch.health().problem == ""


def test_a_quiet_fleet_asks_by_itself(watched: Watched) -> None:
    assert not watched.watch.look()
    watched.clock.advance(10)
    assert watched.watch.look()


def test_drops_without_an_absence_are_told_but_not_every_second(watched: Watched) -> None:
    watched.samples.add(range(6))
    watched.watch.look()
    watched.samples.add([1])
    watched.clock.advance(599)
    watched.watch.look()
    assert watched.kinds() == ["history_dropped"]
    assert watched.told[0].message == "2 samples never reached the history"
    watched.clock.advance(1)
    watched.watch.look()
    assert watched.told[-1].message == "1 sample never reached the history"
