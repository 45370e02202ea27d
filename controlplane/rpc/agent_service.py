"""The agents' service: the long session, and renewal of certificates. Translates only.

Registered by `rpc.server` on the port that asks for certificates. A session reads until the agent goes, writes what its queue
holds, and ends when a newer session of the same node takes its place.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from controlplane import __version__
from controlplane.clock import Clock
from controlplane.errors import IdentityRefusedError, IncompatibleError, InvalidInputError
from controlplane.fleet.node_commands import LogRequest
from controlplane.fleet.node_records import RecordsReceived
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.identity.authority import NodeCredentials
from controlplane.identity.peer import NodePeer
from controlplane.proto.stoker.v1 import agent_pb2, agent_pb2_grpc
from controlplane.rpc import agent_codec, agent_hardware_codec, command_codec, records_codec, residency_codec
from controlplane.rpc.callers import node_calling
from controlplane.rpc.error_mapping import unary
from controlplane.rpc.timestamps import from_wire, to_wire
from controlplane.runtime.agent_sessions import AgentSession, AgentSessions, Outcome, ResidencyWanted
from controlplane.runtime.log_requests import LogRequests
from controlplane.runtime.tasks import TaskScope
from controlplane.services.admit_simulated import AdmitSimulated
from controlplane.services.ingest_records import IngestRecords
from controlplane.services.ingest_reports import IngestReports
from controlplane.services.ingest_residency import IngestResidency
from controlplane.services.renew_certificate import RenewCertificate, require_current

log = structlog.get_logger(__name__)

PROTOCOL_VERSION = 1
PROTOCOL_VERSION_MIN = 1
HELLO_SECONDS_MAX = 10.0
KEEPS_RECORDS = "records.v1"  # a capability of agents


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """What an agent is told in its welcome."""

    leader_epoch: int
    report_interval_seconds: float
    lease_seconds: float


class AgentService(agent_pb2_grpc.AgentServiceServicer):
    def __init__(
        self,
        sessions: AgentSessions,
        ingest: IngestReports,
        records: IngestRecords,
        residency: IngestResidency,
        snapshot: Callable[[], FleetSnapshot],
        terms: Callable[[], SessionTerms],
        renew: RenewCertificate,
        admit: AdmitSimulated,
        logs: LogRequests,
        tasks: TaskScope,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._ingest = ingest
        self._records = records
        self._residency = residency
        self._snapshot = snapshot
        self._terms = terms
        self._renew = renew
        self._admit = admit
        self._logs = logs
        self._tasks = tasks
        self._clock = clock

    async def Session(
        self, request_iterator: AsyncIterator[agent_pb2.AgentMessage], context: Any
    ) -> AsyncIterator[agent_pb2.ControlMessage]:
        try:
            peer = self._enrolled(context)
            hello = await self._hello(request_iterator)
            node = await self._admit(peer, agent_codec.spoken_for(hello))
        except IdentityRefusedError as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        except IncompatibleError as error:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
        except InvalidInputError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        session = self._sessions.open(node)
        reader = None
        reason = "the stream ended"
        try:
            self._ingest.opened(session, agent_codec.facts_from(hello), agent_codec.engines_from(hello.engines))
            yield self._welcome(hello)
            if KEEPS_RECORDS in hello.capabilities:
                self._records.greeted(session)
            reader = self._tasks.spawn(f"agent session {node}", self._read(session, request_iterator))
            async for message in self._outgoing(session, reader):
                yield message
            reason = "a newer session took its place" if session.replaced.is_set() else reason
        finally:
            if reader is not None:
                reader.cancel()
            self._ingest.closed(session, reason)

    @unary
    async def RenewCertificate(
        self, request: agent_pb2.RenewCertificateRequest, context: Any
    ) -> agent_pb2.RenewCertificateResponse:
        peer = node_calling(context)
        hosts = tuple(request.advertised_hosts)
        # Shielded: an agent that hangs up must not leave SQL changed and the fleet's state not.
        issued = await asyncio.shield(self._renew(peer, request.certificate_request_pem, hosts, str(context.peer())))
        return agent_pb2.RenewCertificateResponse(credentials=credentials_to_wire(issued))

    def _enrolled(self, context: Any) -> NodePeer:
        peer = node_calling(context)
        require_current(peer, self._snapshot().desired.nodes.get(peer.name))
        return peer

    async def _hello(self, messages: AsyncIterator[agent_pb2.AgentMessage]) -> agent_pb2.Hello:
        try:
            async with asyncio.timeout(HELLO_SECONDS_MAX):
                first = await anext(messages)
        except (TimeoutError, StopAsyncIteration):
            raise InvalidInputError("a session begins with hello") from None
        if first.WhichOneof("body") != "hello":
            raise InvalidInputError("a session begins with hello")
        hello = first.hello
        if hello.protocol_version < PROTOCOL_VERSION_MIN:
            raise IncompatibleError(
                f"this agent ({hello.agent_version[:64]!a}) is too old for control plane {__version__}: upgrade it"
            )
        if hello.protocol_version_min > PROTOCOL_VERSION:
            raise IncompatibleError(
                f"this agent ({hello.agent_version[:64]!a}) is too new for control plane {__version__}: upgrade this one first"
            )
        return hello

    def _welcome(self, hello: agent_pb2.Hello) -> agent_pb2.ControlMessage:
        terms = self._terms()
        if hello.leader_epoch_seen > terms.leader_epoch:
            # Our database is older than the fleet's memory (a restored backup): agents would refuse every command.
            log.error("leader_epoch_behind", ours=terms.leader_epoch, seen=hello.leader_epoch_seen)
        welcome = agent_pb2.Welcome(
            protocol_version=min(PROTOCOL_VERSION, hello.protocol_version),
            control_plane_version=__version__,
            leader_epoch=terms.leader_epoch,
            report_interval_seconds=terms.report_interval_seconds,
            lease_seconds=terms.lease_seconds,
            now=to_wire(self._clock.now()),
        )
        return agent_pb2.ControlMessage(welcome=welcome)

    async def _read(self, session: AgentSession, messages: AsyncIterator[agent_pb2.AgentMessage]) -> None:
        async for message in messages:
            body = message.WhichOneof("body")
            if body == "report":
                report = message.report
                devices = agent_codec.devices_from(report.devices) if report.devices else None
                sent_at = from_wire(report, "sent_at")
                engines = agent_codec.engines_from(report.engines)
                self._residency.reported(session, engines)
                self._ingest.reported(
                    session,
                    engines,
                    sent_at,
                    devices,
                    agent_hardware_codec.health_from(report.health) or None,
                    agent_hardware_codec.memory_from(report.memory) or None,
                )
            elif body == "outcome":
                outcome = command_codec.outcome_from(message.outcome)
                if outcome is not None:
                    self._ingest.command_ended(session, outcome)
            elif body == "event":
                self._ingest.told(agent_codec.event_from(message.event, session.node, self._clock.now()))
            elif body == "records":
                batch = records_codec.batch_from(message.records)
                if batch is not None:
                    self._records.offered(session, batch)
            elif body == "residency":
                update = residency_codec.update_from(message.residency)
                if update is not None:
                    self._residency.told(session, update)
            elif body == "log_lines":
                self._logs.answered(session.node, command_codec.log_answer_from(message.log_lines))
            # Anything else is from a newer agent: it works without our understanding it.

    async def _outgoing(
        self, session: AgentSession, reader: "asyncio.Task[Any]"
    ) -> AsyncIterator[agent_pb2.ControlMessage]:
        replaced = self._tasks.spawn("session replaced", session.replaced.wait())
        item: asyncio.Task[Any] | None = None
        try:
            while not (reader.done() or replaced.done()):
                item = self._tasks.spawn("session queue", session.queue.get())
                await asyncio.wait({reader, replaced, item}, return_when=asyncio.FIRST_COMPLETED)
                if not item.done():
                    return
                yield self._message(item.result())
        finally:
            replaced.cancel()
            if item is not None:
                item.cancel()  # also when the agent vanished: nothing would ever be queued for it again

    def _message(self, item: Any) -> agent_pb2.ControlMessage:
        if isinstance(item, Outcome):
            received = agent_pb2.OutcomeReceived(command_id=item.command_id)
            return agent_pb2.ControlMessage(outcome_received=received)
        if isinstance(item, RecordsReceived):
            return agent_pb2.ControlMessage(records_received=records_codec.received_to_wire(item))
        if isinstance(item, ResidencyWanted):
            return agent_pb2.ControlMessage(residency_wanted=residency_codec.wanted_to_wire(item))
        if isinstance(item, LogRequest):
            return agent_pb2.ControlMessage(log_wanted=command_codec.log_request_to_wire(item))
        return agent_pb2.ControlMessage(command=command_codec.command_to_wire(item, self._terms().leader_epoch))


def credentials_to_wire(issued: NodeCredentials) -> agent_pb2.Credentials:
    """What a node is given when it joins or renews."""
    return agent_pb2.Credentials(
        certificate_pem=issued.certificate_pem,
        ca_pem=issued.ca_pem,
        gateway_ca_pem=issued.gateway_ca_pem,
        not_after=to_wire(issued.not_after),
    )
