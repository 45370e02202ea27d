"""Records go out in order, one batch at a time, and are forgotten only when the control plane has them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from node_agent.link.record_pump import RECORDS_MAX, RecordPump
from node_agent.session.records import Record, RecordBatch, RecordsReceived
from node_agent.tasks import TaskScope
from tests.fakes.control_plane import eventually
from tests.support.spool import request


class ListedSpool:
    """A spool that is a list."""

    def __init__(self, count: int = 0) -> None:
        self.records = [Record(number, request(f"r{number}")) for number in range(1, count + 1)]
        self.fail_once = False
        self._wake: Callable[[], None] = lambda: None

    def append(self, number: int) -> None:
        self.records.append(Record(number, request(f"r{number}")))
        self._wake()

    async def oldest(self, records_max: int, bytes_max: int) -> RecordBatch | None:
        if self.fail_once:
            self.fail_once = False
            raise OSError("a fault")
        return RecordBatch("s1", tuple(self.records[:records_max]), 0) if self.records else None

    async def delivered(self, spool_id: str, sequence: int) -> None:
        if spool_id == "s1":
            self.records = [record for record in self.records if record.sequence > sequence]

    def on_arrival(self, wake: Callable[[], None]) -> None:
        self._wake = wake


class Said:
    """The link and the control plane at its other end."""

    def __init__(self, pump: RecordPump, *, answers: bool = True) -> None:
        self.pump = pump
        self.answers = answers
        self.batches: list[tuple[int, int]] = []

    def __call__(self, batch: RecordBatch) -> None:
        self.batches.append((batch.records[0].sequence, batch.records[-1].sequence))
        if self.answers:
            self.pump.received(RecordsReceived(batch.spool_id, batch.records[-1].sequence))


@asynccontextmanager
async def pumping(spool: ListedSpool, *, answer_seconds_max: float = 20.0) -> AsyncIterator[RecordPump]:
    pump = RecordPump(spool, pause_seconds=0.0, answer_seconds_max=answer_seconds_max)
    async with TaskScope("test") as scope:
        scope.spawn(pump.run(), name="pump")
        yield pump


async def settled() -> None:
    """Let everything that can happen without waiting happen."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_backlog_goes_out_in_bounded_batches_in_order() -> None:
    spool = ListedSpool(1200)
    async with pumping(spool) as pump:
        said = Said(pump)
        pump.opened(said)
        await eventually(lambda: not spool.records, "all is delivered")
        assert said.batches == [(1, RECORDS_MAX), (501, 1000), (1001, 1200)]
        spool.append(1201)
        await eventually(lambda: not spool.records, "what arrives later is delivered, too")


async def test_without_a_session_nothing_is_sent() -> None:
    spool = ListedSpool(1)
    async with pumping(spool) as pump:
        await settled()
        said = Said(pump)
        pump.opened(said)
        pump.closed()
        await settled()
        assert len(spool.records) == 1


async def test_one_batch_is_under_way_and_a_control_plane_that_never_answers_gets_no_more() -> None:
    spool = ListedSpool(600)
    async with pumping(spool, answer_seconds_max=0.001) as pump:
        silent = Said(pump, answers=False)
        pump.opened(silent)
        await eventually(lambda: silent.batches, "the one batch")
        spool.append(601)
        await settled()
        assert silent.batches == [(1, 500)]
        pump.closed()
        answering = Said(pump)
        pump.opened(answering)
        await eventually(lambda: not spool.records, "the next session delivers, from the start")
        assert answering.batches[0] == (1, 500)


async def test_one_that_takes_records_is_asked_again_when_it_cannot_store_now() -> None:
    spool = ListedSpool(3)
    async with pumping(spool, answer_seconds_max=0.001) as pump:
        said = Said(pump, answers=False)
        pump.received(RecordsReceived("", 0))
        pump.opened(said)
        await eventually(lambda: len(said.batches) >= 3, "it is asked again")
        assert set(said.batches) == {(1, 3)}
        pump.received(RecordsReceived("s1", 3))
        await eventually(lambda: not spool.records, "stored in the end")


async def test_what_the_control_plane_had_already_is_not_sent() -> None:
    spool = ListedSpool(5)
    async with pumping(spool) as pump:
        pump.received(RecordsReceived("another spool of this node", 99))
        pump.received(RecordsReceived("s1", 3))
        said = Said(pump)
        pump.opened(said)
        await eventually(lambda: not spool.records, "the rest is delivered")
        assert said.batches == [(4, 5)]


async def test_a_batch_that_was_taken_in_part_goes_on_from_there() -> None:
    spool = ListedSpool(5)
    async with pumping(spool) as pump:
        said = Said(pump, answers=False)
        pump.opened(said)
        await eventually(lambda: said.batches, "a batch")
        pump.received(RecordsReceived("s1", 2))
        await eventually(lambda: len(said.batches) == 2, "the rest of it")
        assert said.batches == [(1, 5), (3, 5)]


async def test_a_late_answer_of_an_earlier_session_counts() -> None:
    spool = ListedSpool(2)
    async with pumping(spool) as pump:
        first = Said(pump, answers=False)
        pump.opened(first)
        await eventually(lambda: first.batches, "a batch")
        pump.closed()
        pump.received(RecordsReceived("s1", 2))
        await eventually(lambda: not spool.records, "it is forgotten")
