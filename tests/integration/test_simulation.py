"""Simulated nodes at a real control plane: they join, report, obey and are labelled, over shared connections."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.fleet.access import Role
from controlplane.fleet.observed import EngineState, Trust
from controlplane.proto.stoker.v1 import operator_pb2
from node_agent.clock import SystemClock
from node_agent.link.enrolment import JoinRequest
from node_agent.link.enrolment import join as enrol
from node_agent.link.identity import IdentityStore
from node_agent.link.join_token import parse_join_token
from node_agent.link.shared_link import SharedLink
from node_agent.simulation.fleet import SimulatedFleet, scaled
from node_agent.simulation.running import Simulation
from node_agent.simulation.scenario_loading import scenario_of
from tests.support.served import AgentStream, Pair, Served, hello, served, until

SCENARIO: dict[str, Any] = {
    "start_speed": 200.0,
    "nodes": [
        {"count": 4, "provider": "gcp", "region": "us-east1", "model": "llama-3-8b"},
        {"count": 2, "provider": "aws", "region": "eu-west-1"},
    ],
    "traffic": [{"model": "llama-3-8b", "requests_per_second": 20.0}],
}


async def joined(plane: Served, directory: Path, *, simulator: bool = True) -> IdentityStore:
    admin = await plane.operators(Role.ADMIN)
    token = await admin.CreateJoinToken(operator_pb2.CreateJoinTokenRequest(simulator=simulator))
    store = IdentityStore(directory)
    request = JoinRequest("sim", "simulated", "simulated", "0.1.0", advertised_hosts=("127.0.0.1",))
    parsed = parse_join_token(token.token)
    await enrol(address=plane.enrolment_address, token=parsed, request=request, store=store, clock=SystemClock())
    return store


@contextlib.asynccontextmanager
async def simulated(plane: Served, store: IdentityStore) -> AsyncIterator[Simulation]:
    clock = SystemClock()
    scenario = scenario_of(SCENARIO, "test")
    fleet = SimulatedFleet(scenario, 1, clock.now(), clock.monotonic(), "sim")
    fleet.build(scaled(scenario, None))
    link = SharedLink(address=plane.address, store=store, clock=clock, channels_count=2)
    simulation = Simulation(fleet, link, clock, random.Random(1))  # noqa: S311 - to be repeatable
    async with asyncio.TaskGroup() as group:
        running = group.create_task(simulation.run())
        yield simulation
        running.cancel()
    await link.close()


async def test_a_simulated_fleet_reports_and_obeys(tmp_path: Path) -> None:
    async with served(tmp_path) as plane:
        store = await joined(plane, tmp_path / "state")
        async with simulated(plane, store):
            await until(lambda: len(plane.snapshot.nodes) == 7, "six simulated nodes and the simulator itself")
            await until(lambda: len(plane.snapshot.engines) == 4, "the engines that run from the start")
            await until(lambda: all(generated(plane)), "tokens on every engine")
            nodes = plane.snapshot.nodes
            wanted = plane.snapshot.desired.nodes
            assert all("simulated" in node.facts.capabilities for node in nodes.values())
            assert {wanted[name].location.provider for name in nodes} == {"gcp", "aws", "simulated"}
            assert nodes["sim-gcp-1"].trust is Trust.FRESH
            assert nodes["sim-gcp-1"].facts.devices[0].kind.startswith("simulated ")

            operators = await plane.operators(Role.OPERATOR)
            answer = await operators.Place(
                operator_pb2.PlaceRequest(model="llama-3-8b", source="llama-3-8b", node="sim-aws-5")
            )
            [placed] = answer.placement_ids
            await until(lambda: state(plane, placed) is EngineState.READY, "the placed engine is ready")
            with pytest.raises(grpc.aio.AioRpcError, match="a simulated engine keeps no log"):
                await operators.ReadEngineLog(operator_pb2.EngineLogRequest(engine_id=placed))
            await operators.Remove(operator_pb2.TargetRequest(placement_id=placed))
            await until(lambda: state(plane, placed) is None, "the removed engine is gone")
        await until(lambda: not any(node.connected for node in plane.snapshot.nodes.values()), "sessions end")
        admin = await plane.operators(Role.ADMIN)
        forgotten = await admin.ForgetNode(operator_pb2.ForgetNodeRequest(node="sim"))
        assert "6 nodes that it simulates" in forgotten.steps[0]
        assert plane.snapshot.nodes == {}


@pytest.mark.parametrize(("simulator", "name"), [(False, "sim-1"), (True, "other-1")])
async def test_a_certificate_speaks_for_nobody_else(tmp_path: Path, simulator: bool, name: str) -> None:
    async with served(tmp_path) as plane:
        store = await joined(plane, tmp_path / "state", simulator=simulator)
        identity = store.load()
        stream = AgentStream(plane.channel(Pair(identity.key_pem, identity.certificate_pem)))
        said = hello(node_name=name, provider="gcp", region="r", capabilities=["simulated"])
        code, _ = await stream.refusal(hello=said)
        assert code.name == "UNAUTHENTICATED"
        assert set(plane.snapshot.nodes) == {"sim"}


def state(plane: Served, engine_id: str) -> EngineState | None:
    engine = plane.snapshot.engines.get(engine_id)
    return None if engine is None else engine.report.state


def generated(plane: Served) -> list[int | None]:
    return [engine.report.counters.generation_tokens for engine in plane.snapshot.engines.values()]
