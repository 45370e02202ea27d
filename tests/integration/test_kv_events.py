"""Following an engine's KV events over real ZeroMQ sockets, from a publisher that keeps to vLLM's protocol."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import zmq
import zmq.asyncio

from node_agent.clock import SystemClock
from node_agent.inside.following import Followings
from node_agent.inside.sockets import InsideSockets
from node_agent.probes.kv_event_batch import BlocksStored, KvEvent
from node_agent.probes.kv_events import KvEventFollower
from node_agent.session.facts import NodeEvent
from node_agent.session.inside import ResidencySummary
from node_agent.tasks import TaskScope
from tests.fakes.control_plane import eventually

NOTHING = ResidencySummary(0, 0, 0, 0, complete=True)
END = (2**64 - 1).to_bytes(8, "big")


class Publisher:
    """What vLLM's `ZmqEventPublisher` does, with a buffer as small as the test wants and faults when it wants them."""

    def __init__(self, directory: Path, *, buffer_batches: int = 1000, names: tuple[str, str] = ("k", "r")) -> None:
        self.events_path, self.replay_path = (f"ipc://{directory / name}" for name in names)
        self._buffer_batches = buffer_batches
        self._buffer: list[tuple[int, bytes]] = []
        self._next = 0
        self.replays = 0
        self.answers = True

    def open(self) -> None:
        context = zmq.asyncio.Context.instance()
        self._pub, self._router = context.socket(zmq.PUB), context.socket(zmq.ROUTER)
        self._pub.bind(self.events_path)
        self._router.bind(self.replay_path)

    def close(self) -> None:
        self._pub.close(linger=0)
        self._router.close(linger=0)

    async def serve(self) -> None:
        while True:
            identity, _, begin = await self._router.recv_multipart()
            if not self.answers:
                continue
            self.replays += 1
            for number, payload in self._buffer:
                if number >= int.from_bytes(begin, "big"):
                    await self._router.send_multipart([identity, b"", b"", number.to_bytes(8, "big"), payload])
            await self._router.send_multipart([identity, b"", b"", END, b""])

    async def publish(self, payload: bytes, *, heard: bool = True) -> None:
        """`heard` = False: nobody gets it, as when a queue was full; it is only in the buffer."""
        if heard:
            await self._pub.send_multipart([b"", self._next.to_bytes(8, "big"), payload])
        self._buffer = [*self._buffer, (self._next, payload)][-self._buffer_batches :]
        self._next += 1

    async def shout(self, frames: list[bytes]) -> None:
        await self._pub.send_multipart(frames)


class Heard:
    """A `KvEventSink` that keeps the first hash of each batch."""

    def __init__(self) -> None:
        self.hashes: list[int] = []
        self.resets = 0
        self.missed_count = 0
        self.told: list[NodeEvent] = []

    def apply(self, events: Iterable[KvEvent], rank: int = 0) -> None:
        self.hashes += [event.hashes[0] for event in events if isinstance(event, BlocksStored)]

    def missed(self) -> None:
        self.missed_count += 1

    def reset(self, rank: int = 0) -> None:
        self.hashes.clear()
        self.resets += 1


def stored(hash64: int) -> bytes:
    event = {
        "type": "BlockStored",
        "block_hashes": [hash64],
        "parent_block_hash": None,
        "token_ids": [1, 2],
        "block_size": 2,
    }
    return msgspec.msgpack.encode([1.0, [event], 0])


@asynccontextmanager
async def following(publisher: Publisher, heard: Heard) -> AsyncIterator[KvEventFollower]:
    follower = KvEventFollower(
        engine_id="e1",
        endpoint=publisher.events_path,
        replay_endpoint=publisher.replay_path,
        sink=heard,
        clock=SystemClock(),
        on_event=heard.told.append,
        quiet_seconds=0.2,
        replay_seconds_max=0.2,
    )
    async with TaskScope("test") as scope:
        scope.spawn(follower.run(), name="follower")
        yield follower


@pytest.fixture
async def publisher(tmp_path: Path) -> AsyncIterator[Publisher]:
    made = Publisher(tmp_path)
    made.open()
    async with TaskScope("publisher") as scope:
        scope.spawn(made.serve(), name="replay")
        yield made
    made.close()


async def test_a_late_joiner_hears_all_that_was_and_then_all_that_comes_once(publisher: Publisher) -> None:
    heard = Heard()
    for number in range(5):
        await publisher.publish(stored(number))
    async with following(publisher, heard):
        await eventually(lambda: heard.hashes == [0, 1, 2, 3, 4], "all that was")
        for number in range(5, 50):
            await publisher.publish(stored(number))
        await eventually(lambda: len(heard.hashes) >= 50, "all that came")
    assert heard.hashes == list(range(50))
    assert (heard.missed_count, heard.resets, heard.told) == (0, 0, [])


async def test_an_engine_that_starts_later_is_found(tmp_path: Path) -> None:
    publisher, heard = Publisher(tmp_path), Heard()
    async with following(publisher, heard), TaskScope("publisher") as scope:
        await asyncio.sleep(0)
        publisher.open()
        scope.spawn(publisher.serve(), name="replay")
        await publisher.publish(stored(7))
        await eventually(lambda: heard.hashes == [7], "the first batch")
    publisher.close()
    assert (heard.missed_count, heard.told) == (0, [])


async def test_a_gap_is_filled_from_the_engines_buffer_also_when_nothing_follows_it(publisher: Publisher) -> None:
    heard = Heard()
    async with following(publisher, heard):
        await publisher.publish(stored(0))
        await eventually(lambda: heard.hashes == [0], "the first")
        await publisher.publish(stored(1), heard=False)
        await publisher.publish(stored(2))
        await eventually(lambda: heard.hashes == [0, 1, 2], "the missing one, in its place")
        await publisher.publish(stored(3), heard=False)
        await eventually(lambda: heard.hashes == [0, 1, 2, 3], "the last one, though silence follows")
    assert heard.missed_count == 0


async def test_a_gap_that_the_buffer_has_passed_is_said_once_and_following_goes_on(tmp_path: Path) -> None:
    publisher, heard = Publisher(tmp_path, buffer_batches=2), Heard()
    publisher.open()
    for number in range(5):
        await publisher.publish(stored(number))
    async with TaskScope("publisher") as scope, following(publisher, heard) as follower:
        scope.spawn(publisher.serve(), name="replay")
        await eventually(lambda: heard.hashes == [3, 4], "what is left")
        for number in range(5, 10):
            await publisher.publish(stored(number), heard=False)
        await publisher.publish(stored(10))
        await eventually(lambda: heard.hashes == [3, 4, 9, 10], "what is left of the second gap")
        assert follower.lost_count == 3 + 4
    publisher.close()
    assert heard.missed_count == 2
    assert [event.kind for event in heard.told] == ["kv_events_lost"]


async def test_without_an_answer_it_goes_on_with_what_is_published(publisher: Publisher) -> None:
    heard = Heard()
    async with following(publisher, heard):
        await publisher.publish(stored(0))
        await eventually(lambda: heard.hashes == [0], "the first")
        publisher.answers = False
        await publisher.publish(stored(1), heard=False)
        await publisher.publish(stored(2))
        await eventually(lambda: heard.hashes == [0, 2], "what was published")
        await publisher.publish(stored(3))
        await eventually(lambda: heard.hashes == [0, 2, 3], "and the next")
    assert [event.kind for event in heard.told] == ["kv_events_lost"]


async def test_an_engine_that_began_anew_is_noticed_whatever_number_it_is_at(tmp_path: Path) -> None:
    first, heard = Publisher(tmp_path), Heard()
    first.open()
    for number in range(3):
        await first.publish(stored(number))
    async with following(first, heard):
        async with TaskScope("publisher") as scope:
            scope.spawn(first.serve(), name="replay")
            await eventually(lambda: heard.hashes == [0, 1, 2], "all of the first")
        first.close()
        second = Publisher(tmp_path)
        second.open()
        for number in range(100, 105):  # further on than the first one was
            await second.publish(stored(number), heard=False)
        async with TaskScope("publisher") as scope:
            scope.spawn(second.serve(), name="replay")
            await eventually(lambda: heard.hashes == [100, 101, 102, 103, 104], "all of the second")
        second.close()
        third = Publisher(tmp_path)  # that has published nothing yet
        third.open()
        async with TaskScope("publisher") as scope:
            scope.spawn(third.serve(), name="replay")
            await eventually(lambda: heard.resets == 2, "the third")
        third.close()
    assert heard.hashes == []


async def test_garbage_is_contained_counted_and_told_once(publisher: Publisher) -> None:
    heard = Heard()
    async with following(publisher, heard) as follower:
        await publisher.publish(stored(0))
        await eventually(lambda: heard.hashes == [0], "the first")
        await publisher.shout([b"one frame"])
        await publisher.shout([b"", b"short", b""])
        await publisher.publish(b"\xc1 this is no msgpack")
        await publisher.publish(msgspec.msgpack.encode([1.0, [{"type": "BlockStored", "block_hashes": "?"}], 0]))
        unknown = msgspec.msgpack.encode([1.0, [{"type": "BlockDreamt"}], None])
        await publisher.publish(unknown)
        await publisher.publish(stored(4))
        await eventually(lambda: heard.hashes == [0, 4], "what can be read")
        assert (follower.unreadable_count, follower.unknown_count) == (4, 1)
    assert heard.missed_count == 2
    assert sorted(event.kind for event in heard.told) == ["kv_events_unknown", "kv_events_unreadable"]
    assert all(event.engine_id == "e1" and event.action for event in heard.told)


async def test_every_rank_of_an_engine_is_followed_and_what_any_of_them_holds_is_resident(tmp_path: Path) -> None:
    sockets, told = InsideSockets(tmp_path), list[NodeEvent]()
    followings = Followings(clock=SystemClock(), on_event=told.append)
    names = (sockets.events.name, sockets.replay.name)
    ranks = [Publisher(tmp_path, names=names), Publisher(tmp_path, names=(f"{names[0]}_dp1", f"{names[1]}_dp1"))]
    async with TaskScope("publishers") as scope:
        for rank in ranks:
            rank.open()
            scope.spawn(rank.serve(), name="replay")
        following = followings.follow("e1", "i1", sockets)
        assert following.summary() is None
        for number, rank in enumerate(ranks):
            await rank.publish(stored(number))
        [residency] = followings.residencies()
        await eventually(lambda: (residency.summary() or NOTHING).blocks == 2, "a block of each rank")
        newer = followings.follow("e1", "i2", sockets)
        await following.close()
        assert [found.whole().instance_id for found in followings.residencies()] == ["i2"]
        await newer.close()
        assert not followings.residencies()
    for rank in ranks:
        rank.close()
    assert told == []
