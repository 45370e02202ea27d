"""A daemon that was killed and started again: it serves its last known fleet at once, and is right when agents report."""

import asyncio
from pathlib import Path

import pytest

from controlplane.proto.stoker.v1 import fleet_pb2, operator_pb2
from controlplane.storage.database import Database
from tests.support.daemon_process import Daemon, Decisions, Installation, running, soon
from tests.support.postgres import PostgresCluster

pytestmark = pytest.mark.envoy
ENDPOINT = "127.0.0.1:18000"
READY = fleet_pb2.EngineStatus(
    engine_id="llama@gcp-1",
    generation=1,
    instance_id="i1",
    model="llama",
    state=fleet_pb2.ENGINE_STATE_READY,
    endpoint=ENDPOINT,
    served_paths=["/v1/chat/completions"],
    context_tokens_max=4096,
    gauges=fleet_pb2.EngineGauges(kv_capacity_tokens=1000, running_count=2),
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    url = f"sqlite:///{tmp_path / 'data' / 'stoker.db'}"
    if request.param == "postgresql":
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        url = cluster.url(cluster.create_database())
    made = Installation(tmp_path / "data", url)
    await made.make()
    return made


async def fleet(daemon: Daemon) -> operator_pb2.FleetUpdate:
    return await daemon.operators().GetFleet(operator_pb2.GetFleetRequest())


async def fresh_fleet(daemon: Daemon) -> operator_pb2.FleetUpdate:
    """The fleet as soon as the agent's hello has been taken in."""
    operators = daemon.operators()
    async with asyncio.timeout(30):
        while True:
            found = await operators.GetFleet(operator_pb2.GetFleetRequest())
            if any(engine.trust == fleet_pb2.TRUST_FRESH for engine in found.engines):
                return found
            await asyncio.sleep(0.02)


async def test_the_last_known_fleet_is_served_before_any_agent_is_back(installation: Installation) -> None:
    async with running(installation) as first:
        agent = first.agent()
        await agent.greet(engines=[READY])
        [engine] = (await fresh_fleet(first)).engines
        assert (engine.trust, engine.routable) == (fleet_pb2.TRUST_FRESH, True)
        assert await summaries_written(installation) == ["llama@gcp-1"]
        first.process.kill()
        await first.process.wait()

        async with running(installation) as second:
            [engine], [node] = (known := await fleet(second)).engines, known.nodes
            assert (engine.trust, engine.routable) == (fleet_pb2.TRUST_AGEING, True), "marked, and used"
            assert (engine.status.engine_id, engine.status.endpoint, engine.status.state) == (
                READY.engine_id,
                ENDPOINT,
                READY.state,
            )
            assert not engine.HasField("last_report_at"), "nobody has reported since the start"
            assert not engine.status.gauges.HasField("running_count"), "what only a report can tell is unknown"
            assert (node.trust, node.connected) == (fleet_pb2.TRUST_AGEING, False)
            assert await decided(installation) == (200, ENDPOINT)
            assert ENDPOINT.rsplit(":", maxsplit=1)[1] in published(installation), "Envoy knows it, too"

            agent = second.agent()
            welcome = await agent.greet(engines=[READY])
            assert welcome.leader_epoch == 2
            [engine], [node] = (now := await fresh_fleet(second)).engines, now.nodes
            assert (engine.trust, engine.routable, engine.status.gauges.running_count) == (
                fleet_pb2.TRUST_FRESH,
                True,
                2,
            )
            assert (node.trust, node.connected) == (fleet_pb2.TRUST_FRESH, True)
            kinds = [event.kind for event in now.events]
            assert "engine_gone" not in kinds
            assert kinds.count("engine_ready") == 1, "a process that ran on is no news"


async def summaries_written(installation: Installation) -> list[str]:
    """Who is remembered, as soon as anybody is."""
    database, found = Database.open(installation.database_url), list[str]()
    try:
        async with asyncio.timeout(60):
            while not found:
                found = [each.engine_id for each in await database.read(lambda uow: uow.engine_summaries.all())]
                await asyncio.sleep(0.05)
    finally:
        await database.close()
    return found


async def decided(installation: Installation) -> tuple[int, str]:
    decisions = Decisions(installation.decision_socket)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(decisions.run())
        await soon(lambda: decisions.answers, "a decision")
        asking.cancel()
    return decisions.answers[0]


def published(installation: Installation) -> str:
    """All that Envoy was told."""
    run = installation.data / "run"
    return "".join(path.read_text() for path in run.rglob("*") if path.is_file() and path.suffix in (".json", ".yaml"))
