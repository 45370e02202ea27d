"""A control plane small enough to read: the agents' services over real TLS, scripted by the test.

It records what agents say, answers Hello with the Welcome that it was given, sends what the test tells it to, and can
vanish and come back on the same port. It decides nothing by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc

from controlplane.proto.stoker.v1 import agent_pb2, agent_pb2_grpc
from tests.fakes.authority import FakeAuthority, Pair

DEADLINE_SECONDS = 20.0


async def eventually(condition: Callable[[], Any], what: str, *, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until `condition` holds; fail with `what` when it does not in time."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - it looks at plain state of several parts
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:.0f} s: {what}") from None


@dataclass
class Received:
    """What agents said, in order, over all sessions."""

    hellos: list[agent_pb2.Hello] = field(default_factory=list)
    reports: list[agent_pb2.Report] = field(default_factory=list)
    outcomes: list[agent_pb2.CommandOutcome] = field(default_factory=list)
    events: list[agent_pb2.NodeEvent] = field(default_factory=list)
    residency: list[agent_pb2.ResidencyUpdate] = field(default_factory=list)
    logs: list[agent_pb2.LogLines] = field(default_factory=list)
    joins: list[agent_pb2.JoinRequest] = field(default_factory=list)
    renewals: list[agent_pb2.RenewCertificateRequest] = field(default_factory=list)

    def finals(self, command_id: str) -> list[agent_pb2.CommandOutcome]:
        accepted = agent_pb2.COMMAND_STATUS_ACCEPTED
        return [said for said in self.outcomes if said.command_id == command_id and said.status != accepted]


class FakeControlPlane(agent_pb2_grpc.AgentServiceServicer, agent_pb2_grpc.EnrolmentServiceServicer):
    def __init__(self, authority: FakeAuthority, *, server: Pair | None = None) -> None:
        self.authority = authority
        self.gateway_authority = FakeAuthority("gateway CA")
        self.received = Received()
        self.welcome = agent_pb2.Welcome(
            protocol_version=1, control_plane_version="test", leader_epoch=1, report_interval_seconds=0.1
        )
        self.acknowledges = True
        self.refuse_session: str | None = None
        self.refuse_session_with = grpc.StatusCode.UNAUTHENTICATED
        self.refuse_join: str | None = None
        self.certificate_lifetime = timedelta(hours=1)
        self.port = 0
        self.enrolment_port = 0
        self._server_pair = server or authority.server_pair()
        self._server: grpc.aio.Server | None = None
        self._sessions: list[asyncio.Queue[agent_pb2.ControlMessage]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def enrolment_address(self) -> str:
        return f"127.0.0.1:{self.enrolment_port}"

    @property
    def sessions_count(self) -> int:
        return len(self._sessions)

    async def start(self) -> None:
        """On the ports that it had before, if it had any."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        agent_pb2_grpc.add_AgentServiceServicer_to_server(self, self._server)
        agent_pb2_grpc.add_EnrolmentServiceServicer_to_server(self, self._server)
        pair = [(self._server_pair.key_pem, self._server_pair.certificate_pem)]
        mutual = grpc.ssl_server_credentials(pair, self.authority.ca_pem, require_client_auth=True)
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", mutual)
        self.enrolment_port = self._server.add_secure_port(
            f"127.0.0.1:{self.enrolment_port}", grpc.ssl_server_credentials(pair)
        )
        await self._server.start()

    async def vanish(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
        self._server = None
        self._sessions.clear()

    def send(self, message: agent_pb2.ControlMessage) -> None:
        """To the newest session."""
        self._sessions[-1].put_nowait(message)

    def command(self, command_id: str, engine_id: str, *, epoch: int = 1, generation: int = 1, **action: Any) -> None:
        """`start=StartEngine(…)` or `stop=StopEngine(…)`; neither: an action that the agent cannot know."""
        command = agent_pb2.Command(
            command_id=command_id, leader_epoch=epoch, generation=generation, engine_id=engine_id, **action
        )
        self.send(agent_pb2.ControlMessage(command=command))

    async def Session(  # noqa: N802 - the wire's name
        self, request_iterator: AsyncIterator[agent_pb2.AgentMessage], context: Any
    ) -> AsyncIterator[agent_pb2.ControlMessage]:
        if self.refuse_session is not None:
            await context.abort(self.refuse_session_with, self.refuse_session)
        outbox: asyncio.Queue[agent_pb2.ControlMessage] = asyncio.Queue()
        listening = asyncio.create_task(self._listen(request_iterator, outbox))  # noqa: TID251 - ends with the call
        try:
            while True:
                yield await outbox.get()
        finally:
            listening.cancel()
            if outbox in self._sessions:
                self._sessions.remove(outbox)

    async def _listen(
        self, requests: AsyncIterator[agent_pb2.AgentMessage], outbox: asyncio.Queue[agent_pb2.ControlMessage]
    ) -> None:
        async for message in requests:
            match message.WhichOneof("body"):
                case "hello":
                    self.received.hellos.append(message.hello)
                    outbox.put_nowait(agent_pb2.ControlMessage(welcome=self.welcome))
                    self._sessions.append(outbox)
                case "report":
                    self.received.reports.append(message.report)
                case "event":
                    self.received.events.append(message.event)
                case "residency":
                    self.received.residency.append(message.residency)
                case "log_lines":
                    self.received.logs.append(message.log_lines)
                case "outcome":
                    self.received.outcomes.append(message.outcome)
                    if self.acknowledges:
                        received = agent_pb2.OutcomeReceived(command_id=message.outcome.command_id)
                        outbox.put_nowait(agent_pb2.ControlMessage(outcome_received=received))

    async def Join(self, request: agent_pb2.JoinRequest, context: Any) -> agent_pb2.JoinResponse:  # noqa: N802
        self.received.joins.append(request)
        if self.refuse_join is not None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, self.refuse_join)
        credentials = self._credentials(request.certificate_request_pem, request.node_name, request.advertised_hosts)
        return agent_pb2.JoinResponse(credentials=credentials, node_name=request.node_name)

    async def RenewCertificate(  # noqa: N802
        self, request: agent_pb2.RenewCertificateRequest, context: Any
    ) -> agent_pb2.RenewCertificateResponse:
        self.received.renewals.append(request)
        credentials = self._credentials(request.certificate_request_pem, "renewed", request.advertised_hosts)
        return agent_pb2.RenewCertificateResponse(credentials=credentials)

    def _credentials(self, request_pem: bytes, name: str, hosts: Any) -> agent_pb2.Credentials:
        return agent_pb2.Credentials(
            certificate_pem=self.authority.sign_request(request_pem, name, hosts, self.certificate_lifetime),
            ca_pem=self.authority.ca_pem,
            gateway_ca_pem=self.gateway_authority.ca_pem,
        )
