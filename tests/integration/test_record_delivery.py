"""Records from a real agent's spool to a real control plane's SQL, over a network that is cut, mute, or both."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controlplane.fleet.access import Role
from controlplane.proto.stoker.v1 import operator_pb2
from node_agent.clock import SystemClock
from node_agent.link.enrolment import JoinRequest, join
from node_agent.link.epoch_file import EpochFile
from node_agent.link.identity import IdentityStore
from node_agent.link.join_token import parse_join_token
from node_agent.link.owed_file import OwedFile
from node_agent.link.record_pump import RecordPump
from node_agent.link.session_runner import SessionRunner
from node_agent.session.backoff import BackoffPolicy
from node_agent.session.facts import EngineCounters, EngineSpec, EngineStatus, NodeEvent
from node_agent.session.machine import SessionPolicy
from node_agent.session.records import RequestRecord
from node_agent.spool.record_spool import RecordSpool
from node_agent.spool.record_store import Limits
from node_agent.spool.sampler import SpoolSampler
from node_agent.tasks import TaskScope
from tests.fakes.control_plane import eventually
from tests.fakes.engine_runner import FakeEngines
from tests.support.served import Served, served
from tests.support.spool import request

CLOCK = SystemClock()
NODE = "azure-1"
ENGINE = f"tiny@{NODE}"


class Relay:
    """The network between agent and control plane: passes bytes on until it is told not to."""

    def __init__(self) -> None:
        self.target_port = 0
        self.answers_pass = True
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(
                self._pass(reader, far_writer, answers=False), self._pass(far_reader, writer, answers=True)
            )
        finally:
            self._writers -= {writer, far_writer}
            for either in (writer, far_writer):
                either.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        try:
            while data := await reader.read(65536):
                if self.answers_pass or not answers:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()


class Node:
    """An agent with fake engines, a real spool and a real session."""

    def __init__(self, address: str, store: IdentityStore, state_dir: Path) -> None:
        self.engines = FakeEngines()
        self.events: list[NodeEvent] = []
        self.spool = RecordSpool(state_dir, Limits(), CLOCK, self.events.append)
        self.runner = SessionRunner(
            address=address,
            policy=SessionPolicy("0.1.0", "boot-1", "linux", BackoffPolicy(0.02, 0.1, 0.2)),
            store=store,
            epochs=EpochFile(state_dir),
            owed=OwedFile(state_dir),
            engines=self.engines,
            devices=lambda: (),
            clock=CLOCK,
            draw=random.Random(7).random,  # noqa: S311 - spreads retries
            records=RecordPump(self.spool, pause_seconds=0.01),
        )
        self.sampler = SpoolSampler(
            self.spool, connected=lambda: self.runner.connected, statuses=self.statuses, clock=CLOCK
        )
        self.tokens = 0

    def statuses(self) -> tuple[EngineStatus, ...]:
        self.tokens += 10
        counters = EngineCounters(generation_tokens=self.tokens)
        return tuple(replace(status, counters=counters) for status in self.engines.statuses())

    async def keep(self, first: int, last: int, instance: str = "i1") -> None:
        """Requests as the plug-in tells them."""
        now = CLOCK.now()
        records: list[tuple[int, RequestRecord]] = [
            (number, request(f"r{number}", engine_id=ENGINE, started_at=now - timedelta(seconds=1), finished_at=now))
            for number in range(first, last + 1)
        ]
        assert await self.spool.keep_requests(instance, records) == last

    async def left(self) -> int:
        batch = await self.spool.oldest(10, 10_000)
        return len(batch.records) if batch else 0

    async def until_delivered(self) -> None:
        async with asyncio.timeout(20):
            while await self.left():  # noqa: ASYNC110 - the spool is asked as the pump asks it
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[None]:
    async with TaskScope("test") as scope:
        scope.spawn(node.runner.run(), name="session")
        try:
            yield
        finally:
            await scope.close()
            await node.spool.close()


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


@pytest.fixture
async def relay(plane: Served) -> AsyncIterator[Relay]:
    made = Relay()
    made.target_port = plane.parts.main.bound_port or 0
    await made.open()
    yield made
    await made.cut()


@pytest.fixture
async def node(plane: Served, relay: Relay, tmp_path: Path) -> Node:
    state_dir = tmp_path / "agent"
    state_dir.mkdir()
    store = IdentityStore(state_dir)
    operators = await plane.operators(Role.ADMIN)
    token = (await operators.CreateJoinToken(operator_pb2.CreateJoinTokenRequest(node_name=NODE))).token
    asked = JoinRequest(NODE, "azure", "eastus", "0.1.0", advertised_hosts=("127.0.0.1",))
    await join(address=plane.enrolment_address, token=parse_join_token(token), request=asked, store=store, clock=CLOCK)
    made = Node(f"localhost:{relay.port}", store, state_dir)
    await made.engines.start(EngineSpec(ENGINE, 1, "tiny", "/models/tiny"))
    return made


async def names(plane: Served) -> list[str]:
    since, until = CLOCK.now() - timedelta(hours=1), CLOCK.now() + timedelta(hours=1)
    rows = await plane.database.run(lambda uow: uow.request_records.list(since, until, limit=10_000))
    assert {(row.node, row.provider, row.region) for row in rows} <= {(NODE, "azure", "eastus")}
    return [row.record.request_id for row in sorted(rows, key=lambda row: row.sequence)]


async def test_live_records_go_straight_through(plane: Served, node: Node) -> None:
    async with running(node):
        await eventually(lambda: node.runner.connected, "a session")
        await node.keep(1, 3)
        await node.until_delivered()
        await node.keep(2, 5)
        await node.until_delivered()
        assert await names(plane) == ["r1", "r2", "r3", "r4", "r5"]


async def test_cut_off_then_delivered_in_order_once_beside_live_reports(
    plane: Served, relay: Relay, node: Node
) -> None:
    async with running(node):
        await eventually(lambda: node.runner.connected, "a session")
        await relay.cut()
        await eventually(lambda: not node.runner.connected, "the loss is seen")
        await node.keep(1, 700)
        for _ in range(3):
            await node.sampler.sample()
        await node.keep(701, 1400)
        await relay.open()
        await node.until_delivered()
        assert await names(plane) == [f"r{number}" for number in range(1, 1401)]
        now = CLOCK.now()
        hour = timedelta(hours=1)
        rows = await plane.database.run(lambda uow: uow.samples.history(now - hour, now + hour, bucket_seconds=7200))
        assert [(row.engine_id, row.generation_tokens, row.provider) for row in rows] == [(ENGINE, 30, "azure")]
        assert sum(row.samples_count for row in rows) == 3
        await eventually(lambda: ENGINE in plane.snapshot.engines, "live reports go on")
        assert node.events == []


async def test_stored_but_never_acknowledged(plane: Served, relay: Relay, node: Node) -> None:
    """As when the control plane dies between the two: the answer never comes, the records come again."""
    async with running(node):
        await eventually(lambda: node.runner.connected, "a session")
        await node.keep(1, 2)
        await node.until_delivered()
        relay.answers_pass = False
        await node.keep(3, 5)
        async with asyncio.timeout(20):
            while len(await names(plane)) < 5:  # noqa: ASYNC110 - it is SQL that is watched
                await asyncio.sleep(0.01)
        assert await node.left() == 3
        await relay.cut()
        relay.answers_pass = True
        await relay.open()
        await node.until_delivered()
        await node.keep(6, 6)
        await node.until_delivered()
        assert await names(plane) == [f"r{number}" for number in range(1, 7)]


async def test_a_killed_agent_delivers_what_it_had_kept(
    plane: Served, relay: Relay, node: Node, tmp_path: Path
) -> None:
    await relay.cut()
    await node.keep(1, 4)  # and then it is killed: nothing is tidied up
    again = Node(f"localhost:{relay.port}", IdentityStore(tmp_path / "agent"), tmp_path / "agent")
    async with running(again):
        await again.keep(3, 6)
        await relay.open()
        await again.until_delivered()
        assert await names(plane) == [f"r{number}" for number in range(1, 7)]
    await node.spool.close()
