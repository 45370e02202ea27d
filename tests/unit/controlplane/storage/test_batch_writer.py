"""The batched writer against a database that does as it is told: when it writes, what it keeps, what it drops."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import pytest
from structlog.testing import capture_logs

from controlplane.errors import ConflictError, DatabaseVersionError, UnavailableError
from controlplane.storage.batch_writer import BatchWriter
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork

T = TypeVar("T")


class StoppedClock:
    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> Any:
        raise AssertionError("a duration is no business of the wall clock")


class ObedientDatabase:
    """Runs functions at once; `trouble` is raised instead while it is set, `gate` holds every call."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.trouble: Exception | None = None
        self.refused: set[int] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()

    async def run_background(self, fn: Callable[[UnitOfWork], T]) -> T:
        self.entered.set()
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        return fn(cast("UnitOfWork", self))

    def write(self, rows: Sequence[int]) -> None:
        if self.refused & set(rows):
            raise ConflictError("the database refused the change")
        self.batches.append(list(rows))


def _writer(database: ObedientDatabase, **changes: Any) -> BatchWriter[int]:
    options = {"flush_seconds": 3600.0, "batch_max": 3, "buffer_max": 10, "clock": StoppedClock(), **changes}
    return BatchWriter(
        "rows", lambda uow, rows: cast("ObedientDatabase", uow).write(rows), cast("Database", database), **options
    )


@pytest.fixture
def database() -> ObedientDatabase:
    return ObedientDatabase()


async def test_rows_are_written_in_order_and_in_batches(database: ObedientDatabase) -> None:
    writer = _writer(database)
    writer.add([1, 2, 3, 4])
    writer.add([5])
    assert await writer.flush()
    assert database.batches == [[1, 2, 3], [4, 5]]
    assert writer.waiting_count == 0
    assert await writer.flush()
    assert len(database.batches) == 2


async def test_rows_wait_while_the_database_is_away_and_are_written_after(database: ObedientDatabase) -> None:
    writer = _writer(database)
    database.trouble = UnavailableError("away")
    writer.add([1, 2, 3, 4])
    with capture_logs() as logs:
        assert not await writer.flush()
        assert not await writer.flush()
        assert (writer.waiting_count, writer.dropped_total, writer.database_away) == (4, 0, True)
        database.trouble = None
        assert await writer.flush()
    assert database.batches == [[1, 2, 3], [4]]
    assert not writer.database_away
    assert [entry["event"] for entry in logs] == ["database_away", "database_back"]


async def test_a_schema_that_is_not_ours_is_waited_for_too(database: ObedientDatabase) -> None:
    writer = _writer(database)
    database.trouble = DatabaseVersionError("being restored")
    writer.add([1])
    assert not await writer.flush()
    assert writer.waiting_count == 1


async def test_beyond_the_buffer_the_oldest_are_dropped_and_counted(database: ObedientDatabase) -> None:
    writer = _writer(database, buffer_max=4)
    database.trouble = UnavailableError("away")
    writer.add([1, 2, 3])
    assert not await writer.flush()
    writer.add([4, 5, 6])
    assert (writer.waiting_count, writer.dropped_total) == (4, 2)
    writer.add(range(100, 110))
    database.trouble = None
    assert await writer.flush()
    assert database.batches == [[106, 107, 108], [109]]
    assert writer.dropped_total == 12


async def test_rows_in_flight_count_as_waiting_and_against_the_buffer(database: ObedientDatabase) -> None:
    writer = _writer(database, buffer_max=4)
    database.gate.clear()
    writer.add([1, 2, 3])
    async with asyncio.TaskGroup() as group:
        flushing = group.create_task(writer.flush())
        await database.entered.wait()
        assert writer.waiting_count == 3
        writer.add([4, 5])
        assert (writer.waiting_count, writer.dropped_total) == (4, 1)
        database.gate.set()
    assert flushing.result()
    assert await writer.flush()
    assert database.batches == [[1, 2, 3], [5]]


async def test_rows_that_the_database_refuses_are_dropped_alone(database: ObedientDatabase) -> None:
    writer = _writer(database)
    database.refused = {2, 5}
    writer.add([1, 2, 3, 4, 5])
    with capture_logs() as logs:
        assert await writer.flush()
    assert sorted(row for batch in database.batches for row in batch) == [1, 3, 4]
    assert (writer.waiting_count, writer.dropped_total) == (0, 2)
    assert [(entry["event"], entry["count"]) for entry in logs] == [("rows_refused", 1), ("rows_refused", 1)]


async def test_a_cancelled_flush_loses_nothing(database: ObedientDatabase) -> None:
    writer = _writer(database)
    database.gate.clear()
    writer.add([1, 2])
    flushing = asyncio.create_task(writer.flush())  # noqa: TID251 - to be cancelled
    await database.entered.wait()
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    assert writer.waiting_count == 2
    database.gate.set()
    assert await writer.flush()
    assert database.batches == [[1, 2]]


async def test_a_bug_is_raised_and_keeps_the_rows(database: ObedientDatabase) -> None:
    writer = _writer(database)
    database.trouble = ZeroDivisionError()
    writer.add([1])
    with pytest.raises(ZeroDivisionError):
        await writer.flush()
    assert writer.waiting_count == 1


async def test_running_it_writes_a_full_batch_at_once(database: ObedientDatabase) -> None:
    writer = _writer(database)
    running = asyncio.create_task(writer.run())  # noqa: TID251 - a test
    writer.add([1, 2])
    await asyncio.sleep(0)
    assert not database.entered.is_set()
    writer.add([3])
    await database.entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert database.batches in ([[1, 2, 3]], [])
    assert await writer.flush()
    assert database.batches == [[1, 2, 3]]


async def test_running_it_writes_what_there_is_after_a_while(database: ObedientDatabase) -> None:
    writer = _writer(database, flush_seconds=0.001)
    writer.add([1])
    running = asyncio.create_task(writer.run())  # noqa: TID251 - a test
    await database.entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
