"""The operator's client and the feed against a real gRPC server over mutual TLS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest

from console.link.client import OperatorClient
from console.link.errors import LinkError
from console.link.feed import Feed
from console.link.identity import new_key_and_request
from console.model.apply import apply_update
from console.model.fleet_view import Connection, FleetView
from tests.fakes import fleet
from tests.fakes.certificates import TestAuthority
from tests.fakes.operator_service import FakeOperatorService

PATIENCE_SECONDS = 20


@pytest.fixture
async def service() -> AsyncIterator[FakeOperatorService]:
    async with FakeOperatorService(fleet.mixed()) as started:
        yield started


@pytest.fixture
async def client(service: FakeOperatorService) -> AsyncIterator[OperatorClient]:
    async with OperatorClient.open(service.credentials) as opened:
        yield opened


async def _failure(client: OperatorClient) -> LinkError:
    with pytest.raises(LinkError) as raised:
        await client.server()
    return raised.value


@pytest.mark.parametrize("view", [fleet.mixed(), fleet.hostile(), fleet.unknown(), fleet.empty()])
async def test_the_fleet_arrives_as_it_was_sent(
    service: FakeOperatorService, client: OperatorClient, view: FleetView
) -> None:
    await service.show(view)
    assert await client.fleet() == replace(view, cursor=service.view.cursor)


async def test_ten_thousand_engines_fit_into_one_answer(service: FakeOperatorService, client: OperatorClient) -> None:
    engine = next(iter(service.view.engines.values()))
    many = {f"engine-{n}": replace(engine, engine_id=f"engine-{n}", log_tail=("x" * 200,) * 5) for n in range(10_000)}
    await service.show(replace(service.view, engines=many))
    assert len((await client.fleet()).engines) == 10_000


async def test_a_watch_resumes_where_it_left_off(service: FakeOperatorService, client: OperatorClient) -> None:
    async with aclosing(client.watch()) as updates:
        first = await anext(updates)
        view = apply_update(FleetView(), first)
        await service.until_watched()
    assert first.reset
    name, engine = next(iter(service.view.engines.items()))
    changed = replace(engine, running=4321)
    await service.show(replace(service.view, engines={**service.view.engines, name: changed}))
    async with aclosing(client.watch(view.boot_id, view.cursor)) as updates:
        second = await anext(updates)
    assert not second.reset
    assert second.engines == (changed,)
    assert apply_update(view, second) == service.view


async def test_queries_and_actions_carry_their_arguments(service: FakeOperatorService, client: OperatorClient) -> None:
    placement = next(iter(service.view.placements))
    await client.place(
        "m", "n", source="/w", engine_args=["--x", "1"], device_ids=["cuda:1"], deployment="d", dry_run=True
    )
    answer = await client.drain(placement_id=placement, drain_seconds_max=90, reason="fan")
    assert (answer.placement_ids, answer.changed, len(answer.steps)) == ((placement,), True, 1)
    await client.resume(node="aws-1")
    await client.remove(placement_id=placement, dry_run=True)
    await client.forget_node("aws-1")
    placed = service.requests("Place")[0]
    assert (placed.model, placed.node, placed.source, list(placed.engine_args)) == ("m", "n", "/w", ["--x", "1"])
    assert (list(placed.device_ids), placed.deployment, placed.dry_run) == (["cuda:1"], "d", True)
    drained = service.requests("Drain")[0]
    assert (drained.drain_seconds_max, drained.reason, drained.dry_run) == (90, "fan", False)
    assert (await client.server()).caller_name == "ana"
    assert [event.event_id for event in (await client.events(kind="engine_failed")).events] == [5]
    assert (await client.events(limit=2)).truncated
    assert not (await client.engine_history(since=fleet.NOW - timedelta(hours=1))).rows


async def test_identities(service: FakeOperatorService, client: OperatorClient) -> None:
    made = await client.create_key("acme", lifetime_seconds=60, note="n")
    assert (made.secret, made.key.tenant) == ("a-secret", "acme")
    assert "a-secret" not in repr(made)
    assert await client.list_keys(tenant="acme") == (made.key,)
    assert await client.list_keys(tenant="other") == ()
    assert (await client.revoke_key(made.key.key_id)).changed
    assert (await client.create_join_token(node_name="n")).token == "a-join-token"
    key_pem, request_pem = new_key_and_request("bo")
    certificate = await client.create_operator("bo", role="viewer", certificate_request_pem=request_pem)
    credentials = replace(service.credentials, certificate_pem=certificate.certificate_pem, key_pem=key_pem)
    async with OperatorClient.open(credentials) as another:
        assert await another.server()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, "not_found"),
        (grpc.StatusCode.INVALID_ARGUMENT, "invalid"),
        (grpc.StatusCode.FAILED_PRECONDITION, "conflict"),
        (grpc.StatusCode.PERMISSION_DENIED, "refused"),
        (grpc.StatusCode.UNAUTHENTICATED, "refused"),
        (grpc.StatusCode.UNAVAILABLE, "unavailable"),
        (grpc.StatusCode.INTERNAL, "internal"),
    ],
)
async def test_statuses_become_kinds(
    service: FakeOperatorService, client: OperatorClient, code: grpc.StatusCode, kind: str
) -> None:
    service.fail("GetServer", code, "the reason")
    error = await _failure(client)
    assert error.kind == kind
    assert "the reason" in error.message


async def test_what_is_away_behind_the_control_plane_is_not_taken_for_itself(
    service: FakeOperatorService, client: OperatorClient
) -> None:
    service.fail("GetServer", grpc.StatusCode.UNAVAILABLE, "the agent did not answer", stoker_code="unavailable")
    error = await _failure(client)
    assert (error.kind, error.message) == ("away", "the agent did not answer")


async def test_a_viewer_is_refused_with_the_servers_own_words(
    service: FakeOperatorService, client: OperatorClient
) -> None:
    service.role = "viewer"
    with pytest.raises(LinkError, match="needs the role admin") as raised:
        await client.create_key("acme")
    assert raised.value.kind == "refused"


async def test_nobody_there(service: FakeOperatorService) -> None:
    await service.stop()
    async with OperatorClient.open(service.credentials) as client:
        error = await _failure(client)
    assert error.kind == "unavailable"
    assert "stoker-controlplane run" in error.message


async def test_a_server_of_another_ca_is_refused_not_unreachable(service: FakeOperatorService) -> None:
    async with OperatorClient.open(replace(service.credentials, ca_pem=TestAuthority().ca_pem)) as client:
        error = await _failure(client)
    assert error.kind == "refused"
    assert "ca.pem" in error.message


async def test_an_operator_of_another_ca_is_refused_not_unreachable(service: FakeOperatorService) -> None:
    key, certificate = TestAuthority().issue("mallory", [])
    async with OperatorClient.open(replace(service.credentials, key_pem=key, certificate_pem=certificate)) as client:
        error = await _failure(client)
    assert error.kind == "refused"


async def test_a_slow_answer_is_given_up_in_time(service: FakeOperatorService) -> None:
    service.hold("GetServer")
    async with OperatorClient.open(service.credentials, timeout_seconds=0.5) as client:
        error = await _failure(client)
    assert (error.kind, "--timeout" in error.message) == ("unavailable", True)


class _Seen:
    """What a feed told, and a way to wait for it."""

    def __init__(self) -> None:
        self.view = FleetView()
        self.views = 0
        self.connections: list[Connection] = []
        self._happened = asyncio.Condition()
        self._loop = asyncio.get_running_loop()

    def on_view(self, view: FleetView) -> None:
        self.view, self.views = view, self.views + 1
        self._tell()

    def on_connection(self, connection: Connection, _message: str) -> None:
        self.connections.append(connection)
        self._tell()

    def _tell(self) -> None:
        self._pending = asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self._happened:
            self._happened.notify_all()

    async def until_shown(self, view: FleetView) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._happened:
            await self._happened.wait_for(lambda: self.view == view)

    async def until_connection(self, connection: Connection) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._happened:
            await self._happened.wait_for(lambda: bool(self.connections) and self.connections[-1] is connection)


@asynccontextmanager
async def _fed(client: OperatorClient) -> AsyncIterator[_Seen]:
    seen = _Seen()
    feed = Feed(client, on_view=seen.on_view, on_connection=seen.on_connection, coalesce_seconds=0.01)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(feed.run())
        yield seen
        running.cancel()


async def test_the_feed_follows_the_fleet(service: FakeOperatorService, client: OperatorClient) -> None:
    async with _fed(client) as seen:
        await seen.until_shown(service.view)
        assert seen.connections == [Connection.CONNECTING, Connection.LIVE]
        for running in range(50):
            engines = {name: replace(row, running=running) for name, row in service.view.engines.items()}
            await service.show(replace(service.view, engines=engines))
        await seen.until_shown(service.view)
    assert len(service.requests("Watch")) == 1


async def test_the_feed_survives_a_restart_and_resumes(service: FakeOperatorService, client: OperatorClient) -> None:
    async with _fed(client) as seen:
        await seen.until_shown(service.view)
        known = service.view.cursor
        await service.stop()
        await seen.until_connection(Connection.LOST)
        assert seen.view.nodes  # what was known stays
        await service.show(replace(service.view, nodes={}))
        await service.start()
        await seen.until_shown(service.view)
        assert service.requests("Watch")[-1].cursor == known
        await service.stop()
        await service.show(replace(fleet.small(), boot_id="boot-2"))
        await service.start()
        await seen.until_shown(service.view)
        await seen.until_connection(Connection.LIVE)


@pytest.mark.parametrize("view", [fleet.empty(), fleet.small()])
async def test_a_quiet_fleet_is_live_again_as_soon_as_the_stream_stands(
    service: FakeOperatorService, client: OperatorClient, view: FleetView
) -> None:
    await service.show(view)
    async with _fed(client) as seen:
        await seen.until_shown(service.view)
        await service.stop()
        await seen.until_connection(Connection.LOST)
        await service.start()
        await seen.until_connection(Connection.LIVE)  # the service has nothing to tell
        assert seen.views == 1
        assert seen.view == service.view


async def test_a_stream_that_is_not_taken_is_never_live(service: FakeOperatorService, client: OperatorClient) -> None:
    service.fail("Watch", grpc.StatusCode.UNAVAILABLE, "starting")
    async with _fed(client) as seen:
        await seen.until_connection(Connection.LOST)
        service.mend()
        await seen.until_shown(service.view)
    first_live = seen.connections.index(Connection.LIVE)
    assert set(seen.connections[1:first_live]) == {Connection.LOST}


async def test_the_feed_says_when_it_is_refused(service: FakeOperatorService, client: OperatorClient) -> None:
    service.fail("Watch", grpc.StatusCode.PERMISSION_DENIED, "revoked")
    async with _fed(client) as seen:
        await seen.until_connection(Connection.REFUSED)
    assert seen.views == 0
