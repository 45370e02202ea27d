"""Resident prefixes over a real session: the agent's against a scripted control plane, and the real one's side of it."""

from pathlib import Path

from controlplane.fleet.inside import ResidencyHeld
from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from node_agent.inside.notes import PrefixNote
from node_agent.inside.residency import EngineResidency
from node_agent.link.identity import IdentityStore
from node_agent.probes.kv_event_batch import BlocksRemoved, BlocksStored
from node_agent.vllm_plugins import token_chain
from tests.fakes.control_plane import FakeControlPlane, eventually
from tests.fakes.linked_agent import enrol, running
from tests.support.fleet import enrolled, placed
from tests.support.served import AgentStream, served, until

SIZE = 4
ENGINE = "llama@gcp-1"


def hold(residency: EngineResidency, number: int) -> None:
    tokens = [number % 1000] * SIZE
    [chain] = token_chain.chain(token_chain.root("", ""), tokens, SIZE)
    residency.note(PrefixNote("acme", "m", "", "", ((number, chain, SIZE),)))
    residency.apply([BlocksStored((number,), None, tokens, SIZE, "", "", (), 0)])


async def test_an_agent_tells_everything_then_changes_and_everything_again_when_asked_and_after_a_cut(
    plane: FakeControlPlane, tmp_path: Path
) -> None:
    store, residency = IdentityStore(tmp_path), EngineResidency(ENGINE, "i1")
    await enrol(plane, store)
    hold(residency, 2**64 - 1)
    async with running(plane, store, tmp_path) as agent:
        agent.residencies.append(residency)
        told = plane.received.residency
        await eventually(lambda: len(told) == 1, "everything")
        assert "residency.text-1" in plane.received.hellos[0].capabilities
        assert (told[0].engine_id, told[0].instance_id, told[0].whole) == (ENGINE, "i1", True)
        assert (list(told[0].added), told[0].checksum, told[0].chunks_count) == ([2**64 - 1], 2**64 - 1, 1)
        hold(residency, 7)
        residency.apply([BlocksRemoved((2**64 - 1,), 0)])
        await eventually(lambda: len(told) == 2, "what changed")
        assert (list(told[1].added), list(told[1].removed), told[1].base_version) == ([7], [2**64 - 1], told[0].version)
        wanted = agent_pb2.ResidencyWanted(engine_id=ENGINE)
        plane.send(agent_pb2.ControlMessage(residency_wanted=wanted))
        await eventually(lambda: len(told) == 3, "everything again")
        assert (told[2].whole, list(told[2].added)) == (True, [7])
        await plane.vanish()
        await eventually(lambda: not agent.runner.connected, "the loss is seen")
        hold(residency, 8)
        await plane.start()
        await eventually(lambda: len(told) == 4, "everything in the new session")
        assert (told[3].whole, sorted(told[3].added)) == (True, [7, 8])


def engine(version: int, *hashes: int) -> fleet_pb2.EngineStatus:
    summary = fleet_pb2.ResidencySummary(
        version=version, chunks_count=len(hashes), blocks_count=9, checksum=sum(hashes) % 2**64, complete=True
    )
    ready = fleet_pb2.ENGINE_STATE_READY
    return fleet_pb2.EngineStatus(
        engine_id=ENGINE, generation=1, instance_id="i1", model="llama", state=ready, residency=summary
    )


def update(version: int, *added: int, base: int = 0, whole: bool = False, chunks: int = 0) -> agent_pb2.ResidencyUpdate:
    return agent_pb2.ResidencyUpdate(
        engine_id=ENGINE,
        instance_id="i1",
        version=version,
        base_version=base,
        whole=whole,
        added=added,
        checksum=sum(added) % 2**64 if whole else 0,
        chunks_count=chunks or len(added),
    )


async def test_the_control_plane_holds_what_is_told_and_asks_when_it_does_not_add_up(tmp_path: Path) -> None:
    async with served(tmp_path) as plane:
        await plane.enrol(enrolled(), placements=(placed(ENGINE),))
        stream = AgentStream(plane.channel(plane.node()))
        prefixes = plane.parts.prefixes
        await stream.greet(engines=[engine(1, 5, 2**64 - 1)], capabilities=["residency.text-1"])
        await stream.say(residency=update(1, 5, 2**64 - 1, whole=True))
        await stream.say(report=agent_pb2.Report(sequence=1, engines=[engine(1, 5, 2**64 - 1)]))
        await until(lambda: prefixes.held(ENGINE) == ResidencyHeld(2, True), "it holds what was told")
        assert prefixes.longest_match(ENGINE, [5, 2**64 - 1, 6]) == 2

        await stream.say(residency=update(3, 6, base=2))  # the one before it was lost
        message = await stream.hear()
        assert message.residency_wanted.engine_id == ENGINE
        assert prefixes.held(ENGINE) == ResidencyHeld(2, False)
        await stream.say(residency=update(3, 5, 6, 7, whole=True))
        await until(lambda: prefixes.held(ENGINE) == ResidencyHeld(3, True), "all is well again")
        await stream.say(report=agent_pb2.Report(sequence=2, engines=[]))
        await until(lambda: prefixes.held(ENGINE) is None, "the engine is gone")
