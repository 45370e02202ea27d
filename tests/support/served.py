"""A control plane with its real network: both gRPC ports over TLS, wired by the composition root, without Envoy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from controlplane import __version__
from controlplane.bootstrap.live_settings import LiveSettings
from controlplane.bootstrap.wiring import Parts, wire
from controlplane.clock import SystemClock
from controlplane.fleet.access import Role
from controlplane.fleet.desired import EnrolledNode, Placement
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.identity import certificates
from controlplane.identity.authority import Authority
from controlplane.identity.layout import DataLayout
from controlplane.proto.stoker.v1 import agent_pb2, agent_pb2_grpc, operator_pb2_grpc
from controlplane.runtime.tasks import TaskScope
from controlplane.services.initialise import initialise
from controlplane.services.restore_fleet import restore_fleet
from controlplane.settings import Settings
from controlplane.settings.model import GatewaySettings, ServerSettings
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork
from tests.support.identity import ADMIN
from tests.support.plane import ANN

DEADLINE_SECONDS = 20.0
EPOCH = 7


@dataclass(frozen=True)
class Pair:
    """What a client shows: PEM of its key and of its certificate."""

    key: bytes
    certificate: bytes


class Served:
    def __init__(self, settings: Settings, database: Database, parts: Parts, tasks: TaskScope) -> None:
        self.settings = settings
        self.database = database
        self.parts = parts
        self.tasks = tasks
        self.authority = Authority.load(DataLayout(settings.data_dir).identity)
        self._channels: list[grpc.aio.Channel] = []

    @property
    def snapshot(self) -> FleetSnapshot:
        return self.parts.store.snapshot

    @property
    def address(self) -> str:
        return f"localhost:{self.parts.main.bound_port}"

    @property
    def enrolment_address(self) -> str:
        return f"localhost:{self.parts.enrolment.bound_port}"

    async def enrol(self, *nodes: EnrolledNode, placements: tuple[Placement, ...] = ()) -> None:
        def put(uow: UnitOfWork) -> None:
            for node in nodes:
                uow.nodes.put(node)
            for placement in placements:
                uow.placements.put(placement)

        await self.database.run(put)
        await self.parts.desired.refresh()

    def node(self, name: str = "gcp-1", serial: str = "0" * 32, authority: Authority | None = None) -> Pair:
        """The certificate of a node; `authority`: of another installation's CA."""
        key = certificates.new_key()
        issued = (authority or self.authority).node_credentials(
            certificates.request_pem(key, name),
            name=name,
            identity_serial=serial,
            hosts=("127.0.0.1",),
            now=SystemClock().now(),
        )
        return Pair(certificates.key_pem(key), issued.certificate_pem)

    async def operator(self, role: Role, name: str = "") -> Pair:
        """An operator of this role, who is known."""
        key, name = certificates.new_key(), name or role.value
        now = SystemClock().now()
        issued = self.authority.issue_operator(certificates.request_pem(key, name), name=name, role=role, now=now)
        await self.database.run(
            lambda uow: uow.operators.put(name, role, issued.serial, issued.not_after, ANN.name, now)
        )
        return Pair(certificates.key_pem(key), issued.certificate_pem)

    def channel(self, pair: Pair | None, *, address: str = "", ca_pem: bytes = b"") -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(
            ca_pem or self.authority.ca_pem, pair.key if pair else None, pair.certificate if pair else None
        )
        options = (("grpc.enable_retries", 0), ("grpc.initial_reconnect_backoff_ms", 100))
        made = grpc.aio.secure_channel(address or self.address, credentials, options=options)
        self._channels.append(made)
        return made

    async def operators(self, role: Role) -> "operator_pb2_grpc.OperatorServiceAsyncStub":
        return operator_pb2_grpc.OperatorServiceStub(self.channel(await self.operator(role)))

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


class AgentStream:
    """One agent's session, as a test speaks it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call: Any = agent_pb2_grpc.AgentServiceStub(channel).Session()

    async def say(self, **body: Any) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.call.write(agent_pb2.AgentMessage(**body))

    async def hear(self) -> agent_pb2.ControlMessage:
        """The next message. Raises AioRpcError when the session was refused, EOFError when it has ended."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            message = await self.call.read()
        if message is grpc.aio.EOF:
            raise EOFError
        assert isinstance(message, agent_pb2.ControlMessage)
        return message

    async def refusal(self, **body: Any) -> tuple[grpc.StatusCode, str]:
        """Say this, if anything; then how the session was refused, which may happen before all of it was said."""
        if body:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await self.say(**body)
        async with asyncio.timeout(DEADLINE_SECONDS):
            code = await self.call.code()
            return code, str(await self.call.details())

    async def greet(self, **changes: Any) -> agent_pb2.Welcome:
        """Say hello and be welcomed."""
        await self.say(hello=hello(**changes))
        return (await self.hear()).welcome


def hello(**changes: Any) -> agent_pb2.Hello:
    fields: dict[str, Any] = {
        "protocol_version": 1,
        "protocol_version_min": 1,
        "agent_version": "0.1.0",
        "boot_id": "b1",
        "os": "Debian 13",
    }
    return agent_pb2.Hello(**{**fields, **changes})


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait until `condition` holds; fail with `what` when it does not in time."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():  # noqa: ASYNC110 - it looks at plain state of several parts
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_SECONDS:.0f} s: {what}") from None


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[Served]:
    settings = Settings(
        data_dir=directory / "data",
        server=ServerSettings(host="127.0.0.1", port=0, enrolment_port=0),
        gateway=GatewaySettings(port=0),
    )
    clock = SystemClock()
    await initialise(settings, __version__, ADMIN, clock, lambda _: None)
    database, tasks = Database.open(settings.database_url), TaskScope()
    parts = wire(
        LiveSettings(settings, lambda: settings),
        database,
        await restore_fleet(database, clock.now()),
        EPOCH,
        tasks,
        clock,
    )
    tasks.spawn("fleet store", parts.store.run())
    tasks.spawn("fleet watch", parts.watch.run())
    await parts.main.start()
    await parts.enrolment.start()
    made = Served(settings, database, parts, tasks)
    try:
        yield made
    finally:
        await made.close()
        await parts.main.stop(0.0)
        await parts.enrolment.stop(0.0)
        await tasks.close()
        await database.close()
