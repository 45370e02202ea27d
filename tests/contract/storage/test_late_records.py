"""Records that come late are in the right place whatever the node's clock did, and in none when that is not kept any more."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from controlplane.fleet.node_records import RecordBatch
from controlplane.runtime.agent_sessions import AgentSession
from controlplane.services.store_records import Kept
from controlplane.storage.database import Database
from tests.contract.storage.test_records import Ingesting, batch, reading, request
from tests.support.fleet import at

THREE_HOURS = 3 * 3600.0


@pytest.fixture
async def plane(database: Database) -> AsyncIterator[Ingesting]:
    made = Ingesting(database)
    yield made
    await made.tasks.close()


async def sampled(database: Database) -> list[datetime]:
    found = await database.run(lambda uow: uow.samples.history(at(-1e6), at(1e6), bucket_seconds=1.0))
    return [row.bucket_at for row in found]


def session(error: float, before: float | None = None, heard: float | None = None) -> AgentSession:
    """A node whose clock is wrong by `error` seconds; in the session before this one by `before`, until `heard`."""
    made = AgentSession("gcp-1")
    made.clock_error_seconds = error
    made.clock_error_before_seconds = before
    made.heard_before_at = None if heard is None else at(heard)
    return made


async def greeted(plane: Ingesting, made: AgentSession) -> AgentSession:
    plane.ingest.greeted(made)
    await plane.answers(made)
    return made


def cut_off(first: float, last: float, error: float, number: int = 1) -> list[object]:
    """A reading every 10 s of [first, last) by our clock, as a clock that is wrong by `error` dates them."""
    count = int((last - first) / 10)
    return [reading(number + n, first + 10 * n + error, 10 * (number + n)) for n in range(count)]


def delivered(*records: object) -> RecordBatch:
    return batch(*records)  # type: ignore[arg-type] # what `cut_off` makes


@pytest.mark.parametrize("error", [THREE_HOURS, -THREE_HOURS])
async def test_a_clock_that_is_three_hours_off(plane: Ingesting, database: Database, error: float) -> None:
    plane.clock.set(at(1000))
    node = await greeted(plane, session(error, before=error, heard=500))
    asked = request(9, started_at=at(520 + error), finished_at=at(530 + error))
    await plane.deliver(delivered(*cut_off(510, 540, error), asked), node)
    assert await sampled(database) == [at(510), at(520), at(530)]
    [row] = await plane.rows()
    assert (row.record.started_at, row.record.finished_at) == (at(520), at(530))
    assert plane.told == []


@pytest.mark.parametrize(
    ("before", "after"),
    [(THREE_HOURS, 0.0), (-THREE_HOURS, 0.0), (0.0, THREE_HOURS), (0.0, -THREE_HOURS), (300.0, 0.0), (-300.0, 0.0)],
)
async def test_a_clock_that_jumps_while_the_node_is_cut_off(
    plane: Ingesting, database: Database, before: float, after: float
) -> None:
    plane.clock.set(at(30_000))
    node = await greeted(plane, session(after, before=before, heard=495))
    records = [*cut_off(500, 15_000, before), *cut_off(15_000, 29_990, after, number=2000)]
    for start in range(0, len(records), 500):
        await plane.deliver(delivered(*records[start : start + 500]), node)
    assert await sampled(database) == [at(500 + 10 * n) for n in range(2949)]
    assert plane.told == []


async def test_the_clock_jumps_and_the_delivery_is_cut_off_in_the_middle(plane: Ingesting, database: Database) -> None:
    plane.clock.set(at(2000))
    records = [*cut_off(500, 1000, THREE_HOURS), *cut_off(1000, 1500, 0.0, number=51)]
    first = await greeted(plane, session(0.0, before=THREE_HOURS, heard=495))
    await plane.deliver(delivered(*records[:20]), first)
    second = await greeted(plane, session(0.0, before=0.0, heard=2000))
    await plane.deliver(delivered(*records[20:]), second)
    assert await sampled(database) == [at(500 + 10 * n) for n in range(100)]


async def test_live_records_after_a_jump_that_left_no_record(plane: Ingesting, database: Database) -> None:
    plane.clock.set(at(20_000))
    node = await greeted(plane, session(0.0, before=-THREE_HOURS, heard=1000))
    plane.clock.advance(5000)
    await plane.deliver(delivered(reading(1, 24_999, 10)), node)
    assert await sampled(database) == [at(24_999)]


async def test_a_request_that_began_before_the_clock_was_set_back(plane: Ingesting) -> None:
    plane.clock.set(at(2000))
    node = await greeted(plane, session(0.0, before=THREE_HOURS, heard=495))
    asked = request(4, started_at=at(525 + THREE_HOURS), finished_at=at(540))
    await plane.deliver(delivered(*cut_off(500, 530, THREE_HOURS), asked), node)
    [row] = await plane.rows()
    assert (row.record.started_at, row.record.finished_at) == (at(525), at(540))


async def test_what_is_older_than_what_is_kept_is_counted_and_told_once_a_delivery(
    plane: Ingesting, database: Database
) -> None:
    plane.kept = Kept(samples=timedelta(hours=1), requests=timedelta(hours=2))
    plane.clock.set(at(10_000))
    node = session(0.0)
    await plane.deliver(delivered(reading(1, 10, 1), reading(2, 20, 2)), node)
    assert plane.told == []
    old = request(3, started_at=at(2700), finished_at=at(2799))
    kept = request(4, started_at=at(2700), finished_at=at(2801))
    assert (await plane.deliver(delivered(old, kept, reading(5, 6399, 3), reading(6, 6401, 4)), node)).sequence == 6
    await plane.deliver(delivered(reading(7, 6411, 5)), node)
    [event] = plane.told
    assert (event.kind, event.node) == ("records_too_old", "gcp-1")
    assert event.message.startswith("4 records")
    assert plane.ingest.too_old_total == 4
    assert await plane.names() == ["r4"]
    assert await sampled(database) == [at(6401), at(6411)]


async def test_a_delivery_of_which_nothing_is_kept_is_told_when_the_node_comes_back(plane: Ingesting) -> None:
    plane.kept = Kept(samples=timedelta(hours=1), requests=timedelta(hours=1))
    plane.clock.set(at(10_000))
    await plane.deliver(delivered(reading(1, 10, 1)), session(0.0))
    await greeted(plane, session(0.0))
    assert [event.kind for event in plane.told] == ["records_too_old"]
    await greeted(plane, session(0.0))
    assert len(plane.told) == 1
