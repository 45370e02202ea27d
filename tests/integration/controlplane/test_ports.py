"""What is served where: health and reflection on both ports, joining on one, everything else on the other."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from controlplane.errors import AlreadyRunningError
from controlplane.fleet.access import Role
from controlplane.proto.stoker.v1 import agent_pb2, agent_pb2_grpc, operator_pb2, operator_pb2_grpc
from controlplane.rpc.enrolment_service import EnrolmentService
from controlplane.rpc.server import enrolment_server
from node_agent.link.join_token import parse_join_token
from tests.support.identity import new_request
from tests.support.served import AgentStream, Served, hello, until


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async with asyncio.timeout(20):
            await call
    return refused.value.code()


async def services_at(channel: grpc.aio.Channel) -> set[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    async for answer in call:
        return {service.name for service in answer.list_services_response.service}
    raise AssertionError("no answer")


STANDARD = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_health_and_reflection_on_both_ports(plane: Served) -> None:
    main = plane.channel(await plane.operator(Role.VIEWER))
    joining = plane.channel(None, address=plane.enrolment_address)
    expected = {
        main: {"stoker.v1.AgentService", "stoker.v1.OperatorService"},
        joining: {"stoker.v1.EnrolmentService"},
    }
    for channel, services in expected.items():
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", *services):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert await services_at(channel) == services | STANDARD


async def test_the_port_for_joining_serves_nothing_else(plane: Served) -> None:
    for pair in (None, await plane.operator(Role.ADMIN)):
        channel = plane.channel(pair, address=plane.enrolment_address)
        operators = operator_pb2_grpc.OperatorServiceStub(channel)
        assert await code_of(operators.GetFleet(operator_pb2.GetFleetRequest())) is grpc.StatusCode.UNIMPLEMENTED
        stream = AgentStream(channel)
        assert (await stream.refusal(hello=hello()))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_nobody_joins_on_the_port_that_asks_for_certificates(plane: Served) -> None:
    stub = agent_pb2_grpc.EnrolmentServiceStub(plane.channel(plane.node()))
    assert await code_of(stub.Join(agent_pb2.JoinRequest())) is grpc.StatusCode.UNIMPLEMENTED


async def test_a_node_joins_once_with_its_token_and_can_then_open_a_session(plane: Served) -> None:
    admin = await plane.operators(Role.ADMIN)
    token = (await admin.CreateJoinToken(operator_pb2.CreateJoinTokenRequest())).token
    parsed = parse_join_token(token)
    request = agent_pb2.JoinRequest(
        token_id=parsed.token_id,
        token_secret=parsed.secret,
        node_name="aws-1",
        provider="aws",
        region="us-east-1",
        certificate_request_pem=new_request(),
        advertised_hosts=["127.0.0.1"],
    )
    stub = agent_pb2_grpc.EnrolmentServiceStub(plane.channel(None, address=plane.enrolment_address))
    joined = await stub.Join(request)
    assert joined.node_name == "aws-1"
    assert "aws-1" in plane.snapshot.nodes
    assert await code_of(stub.Join(request)) is grpc.StatusCode.UNAUTHENTICATED
    stream = AgentStream(plane.channel(plane.node("aws-1", plane.snapshot.desired.nodes["aws-1"].identity_serial)))
    await stream.greet()
    await until(lambda: plane.snapshot.nodes["aws-1"].connected, "it is connected")


async def test_a_machine_that_takes_a_nodes_place_ends_the_old_ones_session(plane: Served) -> None:
    old = AgentStream(plane.channel(plane.node()))
    await old.greet()
    admin = await plane.operators(Role.ADMIN)
    asked = operator_pb2.CreateJoinTokenRequest(node_name="gcp-1", replace=True)
    parsed = parse_join_token((await admin.CreateJoinToken(asked)).token)
    stub = agent_pb2_grpc.EnrolmentServiceStub(plane.channel(None, address=plane.enrolment_address))
    await stub.Join(
        agent_pb2.JoinRequest(
            token_id=parsed.token_id,
            token_secret=parsed.secret,
            node_name="gcp-1",
            provider="gcp",
            region="west",
            certificate_request_pem=new_request(),
        )
    )
    with pytest.raises(EOFError):
        await old.hear()
    again = AgentStream(plane.channel(plane.node()))
    assert (await again.refusal(hello=hello()))[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_a_port_that_is_taken_is_told_in_a_sentence(plane: Served) -> None:
    own = plane.authority.server_credentials((), plane.snapshot.at)
    server = enrolment_server(
        "127.0.0.1",
        plane.parts.enrolment.bound_port,
        lambda: (own.key.read_bytes(), own.certificate.read_bytes()),
        EnrolmentService(None, lambda _: None),  # type: ignore[arg-type]  # it never serves
    )
    with pytest.raises(AlreadyRunningError, match=r"cannot listen on 127.0.0.1:\d+ for joining nodes"):
        await server.start()
    await server.stop(0.0)


async def test_the_servers_take_a_renewed_certificate_without_a_restart(plane: Served) -> None:
    identity = plane.settings.data_dir / "identity" / "server"
    before = (identity / "cert.pem").read_bytes()
    (identity / "cert.pem").unlink()
    plane.authority.server_credentials((), plane.snapshot.at)
    assert (identity / "cert.pem").read_bytes() != before
    channel = plane.channel(None, address=plane.enrolment_address)
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
