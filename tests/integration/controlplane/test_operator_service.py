"""What operators see and do, over real mutual TLS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.clock import SystemClock
from controlplane.fleet.access import Role
from controlplane.proto.stoker.v1 import fleet_pb2, operator_pb2, operator_pb2_grpc
from controlplane.rpc.callers import ROLE_NEEDED
from tests.support.fleet import enrolled, placed
from tests.support.identity import new_request
from tests.support.served import DEADLINE_SECONDS, AgentStream, Served, until

# A call of every method that any caller of the right role may make, though it may fail for another reason.
CALLS: dict[str, Any] = {
    "GetFleet": operator_pb2.GetFleetRequest(),
    "ListEvents": operator_pb2.ListEventsRequest(),
    "GetEngineHistory": operator_pb2.EngineHistoryRequest(),
    "GetServer": operator_pb2.GetServerRequest(),
    "Place": operator_pb2.PlaceRequest(model="llama", node="gcp-1", source="/m", dry_run=True),
    "Remove": operator_pb2.TargetRequest(placement_id="nobody", dry_run=True),
    "Drain": operator_pb2.TargetRequest(placement_id="nobody", dry_run=True),
    "Resume": operator_pb2.TargetRequest(placement_id="nobody", dry_run=True),
    "Restart": operator_pb2.RestartRequest(placement_id="nobody", dry_run=True),
    "LoadAdapter": operator_pb2.AdapterRequest(placement_id="nobody", name="x", source="/x", dry_run=True),
    "UnloadAdapter": operator_pb2.AdapterRequest(placement_id="nobody", name="x", dry_run=True),
    "ProbeNode": operator_pb2.ProbeNodeRequest(node="nobody", dry_run=True),
    "SetReportInterval": operator_pb2.ReportIntervalRequest(node="nobody", seconds=1, dry_run=True),
    "ReadEngineLog": operator_pb2.EngineLogRequest(engine_id="nobody"),
    "QuerySql": operator_pb2.SqlRequest(sql="SELECT 1"),
    "ListJobs": operator_pb2.ListJobsRequest(),
    "ListAudit": operator_pb2.ListAuditRequest(),
    "VerifyAudit": operator_pb2.VerifyAuditRequest(),
    "GetFleetAt": operator_pb2.FleetAtRequest(),
    "ListLeases": operator_pb2.ListLeasesRequest(),
    "PutLease": operator_pb2.PutLeaseRequest(dry_run=True),
    "EndLease": operator_pb2.EndLeaseRequest(lease_id="nobody", dry_run=True),
    "ForgetNode": operator_pb2.ForgetNodeRequest(node="nobody", dry_run=True),
    "CreateKey": operator_pb2.CreateKeyRequest(tenant="acme"),
    "ListKeys": operator_pb2.ListKeysRequest(),
    "RevokeKey": operator_pb2.RevokeKeyRequest(key_id="nobody"),
    "CreateJoinToken": operator_pb2.CreateJoinTokenRequest(),
    "CreateOperator": operator_pb2.CreateOperatorRequest(name="x", role="nobody"),
}


async def status(call: Any) -> grpc.StatusCode:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def refused(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """Status, sentence and the stable code."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    codes = [value for key, value in error.value.trailing_metadata() or () if key == "stoker-code"]
    return error.value.code(), str(error.value.details()), str(codes[0]) if codes else ""


async def test_every_method_asks_for_its_role(plane: Served) -> None:
    assert set(CALLS) | {"Watch"} == set(ROLE_NEEDED)
    for role in Role:
        stub = await plane.operators(role)
        for method, request in CALLS.items():
            code = await status(getattr(stub, method)(request))
            allowed = role.includes(ROLE_NEEDED[method])
            assert (code is grpc.StatusCode.PERMISSION_DENIED) is not allowed, (role, method, code)
            assert code is not grpc.StatusCode.INTERNAL


async def test_a_node_is_no_operator(plane: Served) -> None:
    stub = operator_pb2_grpc.OperatorServiceStub(plane.channel(plane.node()))
    for method, request in CALLS.items():
        assert await status(getattr(stub, method)(request)) is grpc.StatusCode.UNAUTHENTICATED
    watch = stub.Watch(operator_pb2.WatchRequest())
    assert await status(watch.read()) is grpc.StatusCode.UNAUTHENTICATED


async def test_a_model_is_placed_drained_resumed_and_removed(plane: Served) -> None:
    stub = await plane.operators(Role.OPERATOR)
    order = operator_pb2.PlaceRequest(model="llama", node="gcp-1", source="/m", engine_args=["--a"], dry_run=True)
    would = await stub.Place(order)
    assert would.changed
    assert not plane.snapshot.desired.placements
    order.dry_run = False
    done = await stub.Place(order)
    assert list(done.placement_ids) == ["llama@gcp-1"]
    [placement] = (await stub.GetFleet(operator_pb2.GetFleetRequest())).placements
    assert (placement.model, placement.source, list(placement.engine_args)) == ("llama", "/m", ["--a"])
    assert (placement.created_by, placement.desired) == ("operator", operator_pb2.DESIRED_STATE_RUNNING)
    target = operator_pb2.TargetRequest(placement_id="llama@gcp-1", drain_seconds_max=5, reason="a test")
    for method, wanted in (
        ("Drain", operator_pb2.DESIRED_STATE_DRAINED),
        ("Resume", operator_pb2.DESIRED_STATE_RUNNING),
        ("Remove", operator_pb2.DESIRED_STATE_REMOVED),
    ):
        assert (await getattr(stub, method)(target)).changed
        [placement] = (await stub.GetFleet(operator_pb2.GetFleetRequest())).placements
        assert placement.desired == wanted
    entries = await plane.database.run(lambda uow: uow.audit.list(actor="operator:operator"))
    assert [entry.action for entry in entries] == ["place", "drain", "resume", "remove"]
    assert all(entry.peer.startswith("ipv4:127.0.0.1:") for entry in entries)


async def test_errors_carry_a_sentence_and_a_stable_code(plane: Served) -> None:
    stub = await plane.operators(Role.ADMIN)
    code, sentence, name = await refused(
        stub.Place(operator_pb2.PlaceRequest(model="llama", node="nobody", source="x"))
    )
    assert (code, name) == (grpc.StatusCode.NOT_FOUND, "not_found")
    assert "gcp-1" in sentence
    code, _, name = await refused(stub.Drain(operator_pb2.TargetRequest()))
    assert (code, name) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_input")
    await plane.enrol(placements=(placed("llama@gcp-1"),))
    code, sentence, name = await refused(stub.ForgetNode(operator_pb2.ForgetNodeRequest(node="gcp-1")))
    assert (code, name) == (grpc.StatusCode.FAILED_PRECONDITION, "conflict")
    assert "still has placements: llama@gcp-1" in sentence


async def test_with_the_database_away(plane: Served) -> None:
    stub = await plane.operators(Role.OPERATOR)
    await stub.GetServer(operator_pb2.GetServerRequest())
    await plane.database.close()
    code, _, name = await refused(stub.Place(operator_pb2.PlaceRequest(model="llama", node="gcp-1", source="/m")))
    assert (code, name) == (grpc.StatusCode.UNAVAILABLE, "unavailable")
    assert not plane.snapshot.desired.placements
    fleet = await stub.GetFleet(operator_pb2.GetFleetRequest())
    assert [node.name for node in fleet.nodes] == ["gcp-1"], "what is known is shown"


async def test_the_daemon_describes_itself_to_the_one_who_asks(plane: Served) -> None:
    stub = await plane.operators(Role.VIEWER)
    server = await stub.GetServer(operator_pb2.GetServerRequest())
    assert (server.caller_name, server.caller_role, server.database) == ("viewer", "viewer", "sqlite")
    assert (server.fresh_seconds, server.stale_seconds, server.lost_seconds) == (3.0, 15.0, 60.0)
    assert server.leader_epoch == 7


async def test_keys_tokens_and_operators_are_made_and_taken_back(plane: Served) -> None:
    stub = await plane.operators(Role.ADMIN)
    created = await stub.CreateKey(operator_pb2.CreateKeyRequest(tenant="acme", note="a test"))
    assert created.secret
    assert not created.key.HasField("revoked_at")
    assert (await stub.RevokeKey(operator_pb2.RevokeKeyRequest(key_id=created.key.key_id))).changed
    assert not (await stub.RevokeKey(operator_pb2.RevokeKeyRequest(key_id=created.key.key_id))).changed
    [key] = (await stub.ListKeys(operator_pb2.ListKeysRequest(tenant="acme"))).keys
    assert key.HasField("revoked_at")
    assert created.secret not in str(key)
    token = await stub.CreateJoinToken(operator_pb2.CreateJoinTokenRequest(node_name="new-1"))
    assert token.token
    made = await stub.CreateOperator(
        operator_pb2.CreateOperatorRequest(name="ben", role="viewer", certificate_request_pem=new_request())
    )
    assert made.ca_pem == plane.authority.ca_pem
    assert made.certificate_pem.startswith(b"-----BEGIN CERTIFICATE-----")


async def test_events_and_history_are_asked_for(plane: Served) -> None:
    await plane.enrol(placements=(placed("llama@gcp-1"),))
    agent = AgentStream(plane.channel(plane.node()))
    status = fleet_pb2.EngineStatus(
        engine_id="llama@gcp-1",
        generation=1,
        instance_id="i1",
        model="llama",
        state=fleet_pb2.ENGINE_STATE_READY,
        counters=fleet_pb2.EngineCounters(generation_tokens_total=40),
    )
    await agent.greet(engines=[status])
    await until(lambda: plane.snapshot.engines, "the engine is known")
    plane.parts.history.sample()
    for writer in plane.parts.writers:
        assert await writer.flush()
    stub = await plane.operators(Role.VIEWER)
    page = await stub.ListEvents(operator_pb2.ListEventsRequest(kind="engine_ready"))
    assert ([event.engine_id for event in page.events], page.truncated) == (["llama@gcp-1"], False)
    since = Timestamp()
    since.FromDatetime(SystemClock().now())
    since.seconds -= 500
    history = await stub.GetEngineHistory(operator_pb2.EngineHistoryRequest(since=since, engine_id="llama@gcp-1"))
    assert [(row.engine_id, row.generation_tokens) for row in history.rows] == [("llama@gcp-1", 40)]
    assert not history.rows[0].HasField("prompt_tokens")
    assert history.bucket_seconds == 10.0
    code, _, _ = await refused(stub.GetEngineHistory(operator_pb2.EngineHistoryRequest()))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


@asynccontextmanager
async def watching(
    stub: "operator_pb2_grpc.OperatorServiceAsyncStub", boot_id: str = "", cursor: int = 0
) -> AsyncIterator[Any]:
    call = stub.Watch(operator_pb2.WatchRequest(boot_id=boot_id, cursor=cursor))
    try:
        yield call
    finally:
        call.cancel()


async def update(call: Any) -> operator_pb2.FleetUpdate:
    async with asyncio.timeout(DEADLINE_SECONDS):
        read = await call.read()
    assert isinstance(read, operator_pb2.FleetUpdate)
    return read


async def test_a_watch_shows_the_fleet_then_its_changes_and_goes_on_after_a_cut(plane: Served) -> None:
    viewer, operator = await plane.operators(Role.VIEWER), await plane.operators(Role.OPERATOR)
    await until(lambda: plane.parts.watch.whole().snapshot is plane.snapshot, "watchers are told of what joined")
    async with watching(viewer) as call:
        first = await update(call)
        assert first.reset
        assert [node.name for node in first.nodes] == ["gcp-1"]
        assert first.server.caller_name == "viewer"
        await operator.Place(operator_pb2.PlaceRequest(model="llama", node="gcp-1", source="/m"))
        second = await update(call)
        assert (second.reset, second.cursor) == (False, first.cursor + 1)
        assert [placement.placement_id for placement in second.placements] == ["llama@gcp-1"]
        assert [event.kind for event in second.events] == ["placement_created"]
        assert [model.name for model in second.models] == ["llama"]
    await plane.enrol(enrolled("aws-1"))
    async with watching(viewer, second.boot_id, second.cursor) as call:
        third = await update(call)
        if third.cursor == second.cursor:  # nothing new yet: the answer that a watcher of a quiet fleet gets
            third = await update(call)
        assert (third.reset, third.cursor) == (False, second.cursor + 1)
        assert [node.name for node in third.nodes] == ["aws-1"]
        assert not third.placements
        assert not third.events
    async with watching(viewer, "another boot", second.cursor) as call:
        again = await update(call)
        assert again.reset
        assert {node.name for node in again.nodes} == {"gcp-1", "aws-1"}


async def test_watchers_of_the_same_step_are_told_the_same_and_who_they_are(plane: Served) -> None:
    viewer, admin = await plane.operators(Role.VIEWER), await plane.operators(Role.ADMIN)
    await until(lambda: plane.parts.watch.whole().snapshot is plane.snapshot, "watchers are told of what joined")
    async with watching(viewer) as one, watching(admin) as other:
        firsts = await update(one), await update(other)
        assert [first.server.caller_role for first in firsts] == ["viewer", "admin"]
        await plane.enrol(enrolled("aws-1"))
        seconds = await update(one), await update(other)
        assert seconds[0] == seconds[1]
