"""What nodes deliver late is stored exactly once, on both databases, whatever is repeated, lost or nonsense."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from controlplane.fleet.events import DesiredChanged
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.node_records import (
    EngineReading,
    NodeRecord,
    RecordBatch,
    RecordsReceived,
    RequestOutcome,
    RequestRecord,
    RequestRow,
    SpoolPosition,
)
from controlplane.jobs import forget_old_history
from controlplane.runtime.agent_sessions import AgentSession
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.tasks import TaskScope
from controlplane.services.ingest_records import IngestRecords
from controlplane.services.store_records import Kept
from controlplane.storage.database import Database
from tests.support.clock import START, SettableClock
from tests.support.fleet import THRESHOLDS, at, counted, desired, enrolled, reported
from tests.support.served import until


def request(number: int, **changes: object) -> NodeRecord:
    record = RequestRecord(
        request_id=f"r{number}",
        engine_id="llama@gcp-1",
        instance_id="i1",
        model="llama",
        tenant="acme",
        started_at=at(number - 1),
        finished_at=at(number),
        outcome=RequestOutcome.COMPLETED,
        status_code=200,
        prompt_tokens=10,
        ttft_seconds=0.25,
    )
    return NodeRecord(number, replace(record, **changes))  # type: ignore[arg-type]


def reading(number: int, seconds: float, tokens: int) -> NodeRecord:
    return NodeRecord(number, EngineReading(at(seconds), reported(counters=counted(tokens))))


def batch(*records: NodeRecord, spool_id: str = "s1", dropped: int = 0) -> RecordBatch:
    return RecordBatch(spool_id, records, dropped)


class Ingesting:
    """The service as the daemon wires it, on this test's database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SettableClock(at(100))
        self.told: list[FleetEvent] = []
        self.kept = Kept(samples=timedelta(hours=48), requests=timedelta(hours=48))
        self.tasks = TaskScope()
        self.start()

    def start(self) -> None:
        """A daemon that just started: it remembers nothing but what is in SQL."""
        store = FleetStore(self.clock, THRESHOLDS)
        store.apply_now(DesiredChanged(desired([enrolled("gcp-1"), enrolled("aws-1")])))
        events = EventLog([], 0, self.told.extend)
        self.ingest = IngestRecords(store, events, self.database, self.tasks, self.clock, lambda: self.kept)

    async def answers(self, session: AgentSession, count: int = 1) -> list[RecordsReceived]:
        await until(lambda: session.queue.qsize() >= count, "the answers")
        found = [session.queue.get_nowait() for _ in range(session.queue.qsize())]
        return [answer for answer in found if isinstance(answer, RecordsReceived)]

    async def deliver(self, delivered: RecordBatch, session: AgentSession | None = None) -> RecordsReceived:
        session = session or AgentSession("gcp-1")
        self.ingest.offered(session, delivered)
        [answer] = await self.answers(session)
        return answer

    async def rows(self) -> list[RequestRow]:
        return await self.database.run(lambda uow: uow.request_records.list(at(-1e6), at(1e6)))

    async def names(self) -> list[str]:
        return [row.record.request_id for row in await self.rows()]


@pytest.fixture
async def plane(database: Database) -> AsyncIterator[Ingesting]:
    made = Ingesting(database)
    yield made
    await made.tasks.close()


async def test_a_request_is_stored_whole_and_with_its_place(plane: Ingesting) -> None:
    sent = request(1, cached_tokens=4, outcome=RequestOutcome.UNKNOWN, status_code=None)
    assert await plane.deliver(batch(sent)) == RecordsReceived("s1", 1)
    assert await plane.rows() == [RequestRow("gcp-1", "s1", 1, "gcp", "gcp-west", sent.body)]  # type: ignore[arg-type]
    assert plane.told == []


async def test_repeats_overlaps_and_gaps(plane: Ingesting) -> None:
    assert (await plane.deliver(batch(request(1), request(2)))).sequence == 2
    assert (await plane.deliver(batch(request(1), request(2)))).sequence == 2
    assert (await plane.deliver(batch(request(2), request(3), request(9)))).sequence == 9
    plane.start()
    assert (await plane.deliver(batch(request(3), request(9)))).sequence == 9
    assert await plane.names() == ["r1", "r2", "r3", "r9"]


async def test_spools_and_nodes_are_counted_apart(plane: Ingesting) -> None:
    await plane.deliver(batch(request(5)))
    await plane.deliver(batch(request(1), spool_id="s2"))
    await plane.deliver(batch(request(2)), AgentSession("aws-1"))
    assert sorted(await plane.names()) == ["r1", "r2", "r5"]


async def test_many_batches_at_once_are_each_answered(plane: Ingesting) -> None:
    sessions = [AgentSession(f"node-{number}") for number in range(30)]
    for session in sessions:
        plane.ingest.offered(session, batch(request(1), request(2)))
    for session in sessions:
        assert await plane.answers(session) == [RecordsReceived("s1", 2)]
    assert len(await plane.rows()) == 60


async def test_a_greeting_tells_what_is_stored_and_that_records_are_taken(plane: Ingesting) -> None:
    new = AgentSession("gcp-1")
    plane.ingest.greeted(new)
    assert await plane.answers(new) == [RecordsReceived("", 0)]
    await plane.deliver(batch(request(4)))
    back = AgentSession("gcp-1")
    plane.ingest.greeted(back)
    assert await plane.answers(back) == [RecordsReceived("s1", 4)]


async def test_readings_fill_the_gap_in_the_samples_by_our_clock(plane: Ingesting, database: Database) -> None:
    session = AgentSession("gcp-1")
    session.clock_error_seconds = 30.0
    delivered = batch(reading(1, 40, 10), reading(2, 50, 30), request(60))
    assert (await plane.deliver(delivered, session)).sequence == 60
    session.clock_error_seconds = 31.0
    await plane.deliver(delivered, session)
    found = await database.run(lambda uow: uow.samples.history(at(0), at(1000), bucket_seconds=1.0))
    assert [(row.bucket_at, row.samples_count, row.generation_tokens) for row in found] == [
        (at(10), 1, 10),
        (at(20), 1, 20),
    ]
    assert {(row.node, row.provider, row.region) for row in found} == {("gcp-1", "gcp", "gcp-west")}
    [row] = await plane.rows()
    assert (row.record.started_at, row.record.finished_at) == (at(29), at(30))


async def test_a_reading_that_is_there_already_is_not_doubled(plane: Ingesting, database: Database) -> None:
    await plane.deliver(batch(reading(1, 10, 10)))
    await plane.deliver(batch(reading(1, 10, 99), spool_id="s2"))
    [row] = await database.run(lambda uow: uow.samples.history(at(0), at(1000), bucket_seconds=1.0))
    assert (row.samples_count, row.generation_tokens) == (1, 10)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (NodeRecord(2, None, "model of 5000 characters"), "5000 characters"),
        (request(2, finished_at=at(100) + timedelta(days=1)), "in the future"),
        (request(2, started_at=datetime.min.replace(tzinfo=START.tzinfo)), "longer than weeks"),
        (request(2, started_at=at(90)), "before it began"),
        (reading(2, 1e9, 1), "in the future"),
    ],
)
async def test_nonsense_is_left_out_alone_told_once_and_acknowledged(
    plane: Ingesting, bad: NodeRecord, words: str
) -> None:
    assert (await plane.deliver(batch(request(1), bad, replace(bad, sequence=3), request(4)))).sequence == 4
    assert await plane.names() == ["r1", "r4"]
    [event] = plane.told
    assert (event.kind, event.node) == ("records_refused", "gcp-1")
    assert event.message.startswith("2 records")
    assert words in event.message


async def test_what_the_database_refuses_is_found_and_left_out_alone(plane: Ingesting) -> None:
    records = [request(number) for number in range(1, 9)]
    records[4] = request(5, prompt_tokens=-1)  # the codec would not have let it pass
    session = AgentSession("gcp-1")
    other = AgentSession("aws-1")
    plane.ingest.offered(session, batch(*records))
    plane.ingest.offered(other, batch(request(1)))
    assert (await plane.answers(other)) == [RecordsReceived("s1", 1)]
    assert (await plane.answers(session))[-1] == RecordsReceived("s1", 8)
    assert len(await plane.rows()) == 8
    [event] = plane.told
    assert event.kind == "records_refused"


async def test_what_a_node_dropped_is_told_once(plane: Ingesting) -> None:
    await plane.deliver(batch(request(1), dropped=3))
    await plane.deliver(batch(request(2), dropped=3))
    await plane.deliver(batch(request(3), dropped=5))
    assert [event.message.split()[0] for event in plane.told] == ["3", "2"]


async def test_a_small_step_back_of_the_nodes_clock_is_no_nonsense(plane: Ingesting) -> None:
    await plane.deliver(batch(request(1, started_at=at(3), finished_at=at(1))))
    [row] = await plane.rows()
    assert row.record.started_at == row.record.finished_at == at(1)


async def test_without_a_database_nothing_is_acknowledged(plane: Ingesting, database: Database) -> None:
    session = AgentSession("gcp-1")
    await database.close()
    plane.ingest.offered(session, batch(request(1)))
    plane.ingest.greeted(session)
    assert await plane.answers(session) == [RecordsReceived("", 0)]


async def test_requests_are_forgotten_by_their_own_time_and_positions_last_longer(
    plane: Ingesting, database: Database
) -> None:
    await plane.deliver(batch(request(1, finished_at=at(-4000)), request(2, finished_at=at(-3990)), request(3)))
    while await database.run(lambda uow: uow.rollups.step(at(3 * 3600))) is not None:
        pass
    old = SpoolPosition("gcp-1", "ancient", 7, 0, at(0) - timedelta(days=100))
    await database.run(lambda uow: uow.spool_positions.put_many([old]))
    keep = forget_old_history.Keep(48, 30, 730, requests_hours=1, events_days=365)
    await forget_old_history.run(database, keep, at(3600 + 2.5))
    assert await plane.names() == ["r3"]
    known = await database.run(lambda uow: uow.spool_positions.of_node("gcp-1"))
    assert [(position.spool_id, position.sequence) for position in known] == [("s1", 3)]
    assert (await plane.deliver(batch(request(1), request(2)))).sequence == 3
    assert await plane.names() == ["r3"]
