"""The database goes away under a daemon that is at work, and comes back: nobody's request waits, and nothing is lost."""

import asyncio
import contextlib
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.clock import SystemClock
from controlplane.fleet.history import FleetEvent
from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2, operator_pb2
from controlplane.storage.database import Database
from tests.support.daemon_process import Daemon, Decisions, Installation, running, soon
from tests.support.postgres import PostgresCluster
from tests.support.served import AgentStream

pytestmark = pytest.mark.envoy
ENDPOINT = "127.0.0.1:18000"
DECISIONS_WHILE_AWAY = 200


class Trouble(Protocol):
    """How the database is taken away and given back."""

    url: str
    problem: str

    def __call__(self, daemon_pid: int) -> AbstractContextManager[None]: ...


@dataclass
class PostgresqlKilled:
    cluster: PostgresCluster
    url: str
    problem: str = "away"

    @contextlib.contextmanager
    def __call__(self, daemon_pid: int) -> Iterator[None]:
        self.cluster.kill()
        try:
            yield
        finally:
            self.cluster.start()


@dataclass
class FileLocked:
    """By another process, in a write transaction that it forgot."""

    url: str
    file: Path
    problem: str = "another program keeps the database locked"

    @contextlib.contextmanager
    def __call__(self, daemon_pid: int) -> Iterator[None]:
        source = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60);"
            "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", source, str(self.file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            try:
                yield
            finally:
                holder.kill()


@dataclass
class DiskFull:
    """The daemon may write no file beyond its first byte: as on a full disk, every write of it fails."""

    url: str
    problem: str = "disk"

    @contextlib.contextmanager
    def __call__(self, daemon_pid: int) -> Iterator[None]:
        before = resource.prlimit(daemon_pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.prlimit(daemon_pid, resource.RLIMIT_FSIZE, before)


@pytest.fixture(params=["sqlite-locked", "sqlite-full", pytest.param("postgresql", marks=pytest.mark.postgres)])
def trouble(request: pytest.FixtureRequest, tmp_path: Path) -> Trouble:
    file = tmp_path / "data" / "stoker.db"
    match request.param:
        case "sqlite-locked":
            return FileLocked(f"sqlite:///{file}", file)
        case "sqlite-full":
            return DiskFull(f"sqlite:///{file}")
    cluster = request.getfixturevalue("postgres_cluster")
    return PostgresqlKilled(cluster, cluster.url(cluster.create_database()))


class Agent:
    """Reports one engine again and again, and opens its session anew when it is told to."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.tokens = 0
        self._anew = False

    async def run(self) -> None:
        while True:
            stream = self._daemon.agent()
            await stream.greet(engines=[self._engine()])
            while not self._anew:
                await self._report(stream)
                await asyncio.sleep(0.05)
            self._anew = False
            await stream.call.done_writing()

    def connect_anew(self) -> None:
        """Two events, then, that must reach the log."""
        self._anew = True

    async def _report(self, stream: AgentStream) -> None:
        self.tokens += 1
        await stream.say(report=agent_pb2.Report(sequence=self.tokens, sent_at=_now(), engines=[self._engine()]))

    def _engine(self) -> fleet_pb2.EngineStatus:
        return fleet_pb2.EngineStatus(
            engine_id="llama@gcp-1",
            generation=1,
            instance_id="i1",
            model="llama",
            state=fleet_pb2.ENGINE_STATE_READY,
            endpoint=ENDPOINT,
            served_paths=["/v1/chat/completions"],
            measured_at=_now(),
            counters=fleet_pb2.EngineCounters(prompt_tokens_total=self.tokens),
        )


def _now() -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(SystemClock().now())
    return stamp


@contextlib.asynccontextmanager
async def at_work(daemon: Daemon, installation: Installation) -> AsyncIterator[tuple[Agent, Decisions]]:
    agent, decisions = Agent(daemon), Decisions(installation.decision_socket)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(agent.run())]
        try:
            await soon(lambda: agent.tokens > 20, "reports")
            tasks.append(group.create_task(decisions.run()))
            await soon(lambda: len(decisions.answers) > 20, "decisions")
            yield agent, decisions
        finally:
            for task in tasks:
                task.cancel()


async def test_decisions_go_on_and_all_is_written_afterwards(trouble: Trouble, tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data", trouble.url)
    await installation.make()
    async with running(installation) as daemon:
        operators = daemon.operators()

        async def server() -> operator_pb2.Server:
            return await operators.GetServer(operator_pb2.GetServerRequest())

        async with at_work(daemon, installation) as (agent, decisions):
            await until_server(server, lambda told: not told.HasField("database_away_since"), "the database is there")
            with trouble(daemon.process.pid):
                await until_server(server, lambda told: told.HasField("database_away_since"), "it is noticed")
                agent.connect_anew()
                decided = len(decisions.answers)
                await soon(lambda: len(decisions.answers) > decided + DECISIONS_WHILE_AWAY, "decisions go on")
                # Samples wait (of the engine and its node some rows each a second), and events do. The problem is told in
                # plain words; a change is refused in time, with a reason.
                told = await until_server(
                    server, lambda told: told.samples_waiting_count > 14 and told.events_waiting_count > 2, "rows wait"
                )
                assert trouble.problem in told.database_problem
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await operators.Drain(operator_pb2.TargetRequest(placement_id="llama@gcp-1"), timeout=20)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
                assert "database" in str(refused.value.details())
                assert "stoker-code" in {key for key, _ in refused.value.trailing_metadata() or ()}
                fleet = await operators.GetFleet(operator_pb2.GetFleetRequest())
                assert [engine.routable for engine in fleet.engines] == [True]
                away_until = SystemClock().now()
            back = await until_server(
                server, lambda told: not told.HasField("database_away_since"), "it goes on by itself"
            )
            assert (back.samples_dropped_total, back.events_dropped_total, back.database_problem) == (0, 0, "")
            assert set(decisions.answers) == {(200, ENDPOINT)}
            last = agent.tokens
        assert daemon.process.returncode is None
        await check_history(installation, told.database_away_since.ToDatetime(away_until.tzinfo), away_until, last)


async def until_server(server: object, holds: object, what: str) -> operator_pb2.Server:
    async with asyncio.timeout(60):
        while True:
            told = await server()  # type: ignore[operator]
            if holds(told):  # type: ignore[operator]
                return told  # type: ignore[no-any-return]
            await asyncio.sleep(0.1)
    raise AssertionError(what)


async def check_history(installation: Installation, away_since: datetime, away_until: datetime, tokens: int) -> None:
    """Events without a gap in their numbers; samples of the absence; the engine's last counter."""
    database = Database.open(installation.database_url)
    try:
        events: list[FleetEvent] = []
        async with asyncio.timeout(60):
            while not any(event.kind == "database_back" for event in events):
                await asyncio.sleep(0.1)
                events = (await database.read(lambda uow: uow.events.list(limit=10_000))).events
            totals: dict[str, tuple[int | None, int | None]] = {}
            while (totals.get("llama", (0, 0))[0] or 0) < tokens - 2:
                await asyncio.sleep(0.1)
                totals = await database.read(lambda uow: uow.samples.token_totals())
        rows = await database.read(lambda uow: uow.samples.history(away_since, away_until, bucket_seconds=1))
    finally:
        await database.close()
    assert [event.event_id for event in events] == list(range(1, len(events) + 1))
    kinds = [event.kind for event in events]
    assert kinds.count("database_away") == kinds.count("database_back") == 1
    between = kinds[kinds.index("database_away") : kinds.index("database_back")]
    assert {"node_connected", "node_disconnected"} & set(between)
    assert "nothing was lost" in next(event.message for event in events if event.kind == "database_back")
    assert sum(row.samples_count for row in rows) > 2, "samples of the absence"
