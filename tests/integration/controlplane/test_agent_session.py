"""An agent's session over real mutual TLS: what is heard, what is commanded, who is refused."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from controlplane import __version__
from controlplane.fleet.access import Role
from controlplane.fleet.desired import DesiredState
from controlplane.fleet.observed import EngineState, Trust
from controlplane.identity.authority import Authority
from controlplane.proto.stoker.v1 import agent_pb2, agent_pb2_grpc, fleet_pb2, operator_pb2
from tests.support.clock import START
from tests.support.fleet import enrolled, placed
from tests.support.identity import new_request
from tests.support.served import EPOCH, AgentStream, Served, hello, until

READY = fleet_pb2.EngineStatus(
    engine_id="llama@gcp-1",
    generation=1,
    instance_id="i1",
    model="llama",
    state=fleet_pb2.ENGINE_STATE_READY,
    endpoint="10.0.0.1:8000",
    gauges=fleet_pb2.EngineGauges(kv_capacity_tokens=1000, running_count=2),
)


def kinds(plane: Served) -> list[str]:
    return [event.kind for event in plane.parts.watch.latest().events]


async def report(stream: AgentStream, *engines: fleet_pb2.EngineStatus) -> None:
    sent_at = Timestamp()
    sent_at.FromDatetime(START)
    await stream.say(report=agent_pb2.Report(sequence=1, sent_at=sent_at, engines=engines))


async def commanded(stream: AgentStream) -> agent_pb2.Command:
    message = await stream.hear()
    assert message.WhichOneof("body") == "command"
    return message.command


async def test_a_session_from_hello_to_goodbye(plane: Served) -> None:
    stream = AgentStream(plane.channel(plane.node()))
    welcome = await stream.greet(devices=[fleet_pb2.Device(device_id="cuda:0", kind="H100", family="cuda")])
    assert (welcome.protocol_version, welcome.control_plane_version) == (1, __version__)
    assert (welcome.leader_epoch, welcome.report_interval_seconds, welcome.lease_seconds) == (EPOCH, 1.0, 60.0)
    await report(stream, READY)
    await until(lambda: "llama@gcp-1" in plane.snapshot.engines, "the report is in the snapshot")
    engine, node = plane.snapshot.engines["llama@gcp-1"], plane.snapshot.nodes["gcp-1"]
    assert (engine.report.state, engine.report.gauges.running) == (EngineState.READY, 2)
    assert engine.report.gauges.waiting is None
    assert (node.connected, node.trust, node.facts.os) == (True, Trust.FRESH, "Debian 13")
    assert [device.device_id for device in node.facts.devices] == ["cuda:0"]
    assert node.clock_error_seconds is not None
    await stream.say(
        event=agent_pb2.NodeEvent(kind="metrics_unreadable", message="a\x1b[31m", severity=fleet_pb2.SEVERITY_WARNING)
    )
    await until(lambda: "metrics_unreadable" in kinds(plane), "the agent's event is told")
    assert all(event.message.isprintable() for event in plane.parts.watch.latest().events)
    await stream.call.done_writing()
    with pytest.raises(EOFError):
        await stream.hear()
    await until(lambda: not plane.snapshot.nodes["gcp-1"].connected, "the node is disconnected")
    assert kinds(plane)[-1] == "node_disconnected"
    assert "llama@gcp-1" in plane.snapshot.engines


async def test_a_command_goes_down_and_its_outcome_is_acknowledged_and_told_once(plane: Served) -> None:
    await plane.enrol(placements=(placed("llama@gcp-1"),))
    stream = AgentStream(plane.channel(plane.node()))
    await stream.greet()
    command = await commanded(stream)
    assert (command.engine_id, command.generation, command.leader_epoch) == ("llama@gcp-1", 1, EPOCH)
    assert (command.start.spec.model, command.start.spec.source) == ("llama", "/models/llama")
    for status in (
        agent_pb2.COMMAND_STATUS_ACCEPTED,
        agent_pb2.COMMAND_STATUS_SUCCEEDED,
        agent_pb2.COMMAND_STATUS_SUCCEEDED,
    ):
        await stream.say(outcome=agent_pb2.CommandOutcome(command_id=command.command_id, status=status))
    for _ in range(2):
        assert (await stream.hear()).outcome_received.command_id == command.command_id
    assert kinds(plane).count("command_succeeded") == 1
    assert kinds(plane).count("command_sent") == 1


async def test_a_drain_reaches_the_agent_at_once(plane: Served) -> None:
    await plane.enrol(placements=(placed("llama@gcp-1"),))
    stream = AgentStream(plane.channel(plane.node()))
    await stream.greet(engines=[READY])
    await until(lambda: "llama@gcp-1" in plane.snapshot.engines, "the engine is known")
    await plane.enrol(placements=(placed("llama@gcp-1", desired=DesiredState.DRAINED, generation=2),))
    command = await commanded(stream)
    assert (command.WhichOneof("action"), command.generation) == ("stop", 2)
    assert (command.stop.drain_seconds_max, command.stop.forget) == (600.0, False)


async def test_a_second_session_of_a_node_takes_the_place_of_the_first(plane: Served) -> None:
    await plane.enrol(placements=(placed("llama@gcp-1"),))
    pair = plane.node()
    first = AgentStream(plane.channel(pair))
    await first.greet()
    sent = await commanded(first)
    second = AgentStream(plane.channel(pair))
    await second.greet()
    assert await commanded(second) == sent, "it may have been lost with the first"
    with pytest.raises(EOFError):
        await first.hear()
    await report(second, READY)
    await until(lambda: "llama@gcp-1" in plane.snapshot.engines, "the second session reports")
    assert plane.snapshot.nodes["gcp-1"].connected
    assert "node_disconnected" not in kinds(plane)


async def test_an_agent_that_vanishes_leaves_nothing_behind(plane: Served) -> None:
    before = {task.get_name() for task in asyncio.all_tasks()}
    for _ in range(3):
        stream = AgentStream(plane.channel(plane.node()))
        await stream.greet()
        await until(lambda: plane.snapshot.nodes["gcp-1"].connected, "the node is connected")
        stream.call.cancel()
        await until(lambda: not plane.snapshot.nodes["gcp-1"].connected, "the node is disconnected")

    def left() -> set[str]:
        return {name for task in asyncio.all_tasks() if "session" in (name := task.get_name())} - before

    await until(lambda: not left(), f"its tasks end: {left()}")


@pytest.mark.parametrize(
    "message",
    [
        {"report": agent_pb2.Report(sequence=1)},
        {"event": agent_pb2.NodeEvent(kind="x")},
        {"outcome": agent_pb2.CommandOutcome(command_id="x", status=agent_pb2.COMMAND_STATUS_SUCCEEDED)},
        {},
    ],
)
async def test_a_session_begins_with_hello(plane: Served, message: dict[str, Any]) -> None:
    stream = AgentStream(plane.channel(plane.node()))
    await stream.say(**message)
    assert await stream.refusal() == (grpc.StatusCode.INVALID_ARGUMENT, "a session begins with hello")
    assert not plane.snapshot.nodes["gcp-1"].connected


async def test_a_session_that_ends_before_hello(plane: Served) -> None:
    stream = AgentStream(plane.channel(plane.node()))
    await stream.call.done_writing()
    assert (await stream.refusal())[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"protocol_version": 0, "protocol_version_min": 0}, "too old"),
        ({"protocol_version": 9, "protocol_version_min": 2}, "too new"),
    ],
)
async def test_protocols_that_do_not_meet(plane: Served, versions: dict[str, int], words: str) -> None:
    stream = AgentStream(plane.channel(plane.node()))
    code, details = await stream.refusal(hello=hello(**versions, agent_version="9.9\x1b"))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert words in details
    assert details.isprintable()


async def test_a_newer_agent_that_still_understands_us_is_welcome(plane: Served) -> None:
    stream = AgentStream(plane.channel(plane.node()))
    welcome = await stream.greet(protocol_version=9, protocol_version_min=1)
    assert welcome.protocol_version == 1


async def test_what_a_newer_agent_adds_is_ignored_and_what_an_older_one_lacks_is_unknown(plane: Served) -> None:
    """Bytes as another release writes them: fields and kinds of messages that this one has never heard of."""
    stream = AgentStream(plane.channel(plane.node()))
    greeting = agent_pb2.AgentMessage(hello=hello())
    newer = b"\xfa\x3e\x05hello"  # field 1007, five bytes
    nested = greeting.hello.SerializeToString() + newer
    await stream.call.write(agent_pb2.AgentMessage.FromString(b"\x0a" + bytes([len(nested)]) + nested + newer))
    assert (await stream.hear()).WhichOneof("body") == "welcome"
    unheard_of = agent_pb2.AgentMessage.FromString(b"\x7a\x05hello")  # field 15 of the oneof
    assert len(UnknownFieldSet(unheard_of)) == 1
    await stream.call.write(unheard_of)
    status = READY.SerializeToString() + newer
    engine = fleet_pb2.EngineStatus.FromString(status)
    assert len(UnknownFieldSet(engine)) == 1
    older = fleet_pb2.EngineStatus(engine_id="old@gcp-1", state=fleet_pb2.ENGINE_STATE_READY)
    unknown_state = fleet_pb2.EngineStatus(engine_id="newer@gcp-1", state=77)  # type: ignore[arg-type]
    await report(stream, engine, older, unknown_state)
    await until(lambda: plane.snapshot.engines, "the report is in the snapshot")
    assert set(plane.snapshot.engines) == {"llama@gcp-1", "old@gcp-1"}
    assert plane.snapshot.engines["old@gcp-1"].report.gauges.kv_capacity_tokens is None
    assert plane.snapshot.nodes["gcp-1"].connected


async def test_a_forgotten_node_is_refused_though_its_certificate_lives(plane: Served) -> None:
    pair = plane.node()
    stream = AgentStream(plane.channel(pair))
    await stream.greet()
    operators = await plane.operators(Role.ADMIN)
    await until(lambda: plane.snapshot.nodes["gcp-1"].connected, "the node is connected")
    await operators.ForgetNode(operator_pb2.ForgetNodeRequest(node="gcp-1"))
    with pytest.raises(EOFError):
        await stream.hear()
    again = AgentStream(plane.channel(pair))
    code, details = await again.refusal(hello=hello())
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "join again" in details
    assert not plane.snapshot.nodes


async def test_a_node_whose_place_was_taken_is_refused(plane: Served) -> None:
    stream = AgentStream(plane.channel(plane.node(serial="1" * 32)))
    code, details = await stream.refusal(hello=hello())
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "another machine has taken the place" in details


async def test_an_operator_is_no_node(plane: Served) -> None:
    stream = AgentStream(plane.channel(await plane.operator(Role.ADMIN)))
    assert (await stream.refusal(hello=hello()))[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_a_certificate_is_renewed_in_the_same_place(plane: Served) -> None:
    stub = agent_pb2_grpc.AgentServiceStub(plane.channel(plane.node()))
    request = agent_pb2.RenewCertificateRequest(certificate_request_pem=new_request(), advertised_hosts=["127.0.0.1"])
    answer = await stub.RenewCertificate(request, timeout=20)
    assert answer.credentials.ca_pem == plane.authority.ca_pem
    assert plane.snapshot.desired.nodes["gcp-1"].certificate_not_after is not None
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.RenewCertificate(agent_pb2.RenewCertificateRequest(certificate_request_pem=b"no"), timeout=20)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def _cannot_connect(channel: grpc.aio.Channel) -> None:
    assert (await AgentStream(channel).refusal(hello=hello()))[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_a_foreign_ca_does_not_get_through_the_handshake(plane: Served) -> None:
    foreign = Authority.create(plane.settings.data_dir / "foreign", START)
    await _cannot_connect(plane.channel(plane.node(authority=foreign)))
    await _cannot_connect(plane.channel(None))
    assert not plane.snapshot.nodes["gcp-1"].connected


async def test_an_agent_that_trusts_another_ca_does_not_talk_to_us(plane: Served) -> None:
    foreign = Authority.create(plane.settings.data_dir / "foreign", START)
    await _cannot_connect(plane.channel(plane.node(), ca_pem=foreign.ca_pem))


async def test_plain_text_is_refused_on_both_ports(plane: Served) -> None:
    for address in (plane.address, plane.enrolment_address):
        async with grpc.aio.insecure_channel(address, options=(("grpc.enable_retries", 0),)) as channel:
            await _cannot_connect(channel)


async def test_two_nodes_do_not_disturb_each_other(plane: Served) -> None:
    await plane.enrol(enrolled("aws-1"), placements=(placed("llama@gcp-1"), placed("llama@aws-1")))
    one, other = AgentStream(plane.channel(plane.node("gcp-1"))), AgentStream(plane.channel(plane.node("aws-1")))
    await one.greet()
    await other.greet()
    assert (await commanded(one)).engine_id == "llama@gcp-1"
    assert (await commanded(other)).engine_id == "llama@aws-1"
    await one.call.done_writing()
    await until(lambda: not plane.snapshot.nodes["gcp-1"].connected, "one is gone")
    assert plane.snapshot.nodes["aws-1"].connected
