"""One connection to the control plane: dial, speak, listen, and say why it ended.

`session_runner` makes one for every attempt. This module moves messages and judges failures; what they mean is the
session machine's business. Never retries, never blocks who speaks, never raises out of `run` but for cancellation.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import structlog

from controlplane.proto.stoker.v1 import agent_pb2, agent_pb2_grpc
from node_agent.clock import Clock
from node_agent.link.channel import open_channel
from node_agent.link.codec import agent_message, control_event
from node_agent.link.diagnosis import diagnose
from node_agent.link.identity import IdentityStore, NodeIdentity
from node_agent.link.problems import CertificateNotTrustedError, LinkError, NotJoinedError, RefusedByControlPlaneError
from node_agent.link.statuses import explain
from node_agent.session.commands import Hello, LogLines, LogWanted, Outcome, Report, Welcome
from node_agent.session.facts import NodeEvent
from node_agent.session.inside import ResidencyUpdate, ResidencyWanted
from node_agent.session.protocol import CommandReceived, LinkFailure, OutcomeAcknowledged
from node_agent.session.records import RecordBatch, RecordsReceived
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)

# Above this many unsent messages the peer does not keep up: a further report would only be old news when it arrives.
_UNSENT_REPORTS_MAX = 8

Heard = Welcome | CommandReceived | OutcomeAcknowledged | LogWanted | RecordsReceived | ResidencyWanted
Said = Hello | Report | Outcome | NodeEvent | LogLines | RecordBatch | ResidencyUpdate
_Call = grpc.aio.StreamStreamCall[agent_pb2.AgentMessage, agent_pb2.ControlMessage]


@dataclass(frozen=True, slots=True)
class LinkEnd:
    failure: LinkFailure
    message: str


class SessionLink:
    """`on_open` is called when the stream is open, `on_heard` for each message, both in the event loop."""

    def __init__(
        self,
        *,
        address: str,
        store: IdentityStore,
        clock: Clock,
        on_open: Callable[[], None],
        on_heard: Callable[[Heard], None],
        welcome_seconds_max: float = 10.0,
    ) -> None:
        self._address = address
        self._store = store
        self._clock = clock
        self._on_open = on_open
        self._on_heard = on_heard
        self._welcome_seconds_max = welcome_seconds_max
        self._unsent: asyncio.Queue[Said] = asyncio.Queue()
        self._call: _Call | None = None
        self._closed_because: str | None = None

    @property
    def keeps_up(self) -> bool:
        """Whether the peer takes what it is told; what can wait is kept back while it does not."""
        return self._unsent.qsize() < _UNSENT_REPORTS_MAX

    def say(self, message: Said) -> None:
        if isinstance(message, Report) and not self.keeps_up:
            return
        self._unsent.put_nowait(message)

    def close(self, reason: str) -> None:
        """End this connection from our side; `run` then returns."""
        self._closed_because = reason
        if self._call is not None:
            self._call.cancel()

    async def run(self) -> LinkEnd:
        try:
            identity = self._store.load()
        except NotJoinedError as error:
            return LinkEnd(LinkFailure.UNTRUSTED, str(error))
        if identity.not_after <= self._clock.now():
            expired = f"{identity.not_after:%Y-%m-%d %H:%M} UTC"
            text = f"this node's certificate expired at {expired}: join again with a new token"
            return LinkEnd(LinkFailure.UNTRUSTED, text)
        async with open_channel(self._address, ca_pem=identity.ca_pem, identity=identity) as channel:
            stub: agent_pb2_grpc.AgentServiceAsyncStub = agent_pb2_grpc.AgentServiceStub(channel)
            self._call = stub.Session()
            return await self._converse(self._call, identity)

    async def _converse(self, call: _Call, identity: NodeIdentity) -> LinkEnd:
        opened = False
        try:
            await call.wait_for_connection()
            opened = True
            self._on_open()
            async with TaskScope("session link") as scope:
                scope.spawn(self._write(call), name="writer")
                return await self._listen(call)
        except grpc.aio.AioRpcError as error:
            return await self._end(error, identity, opened=opened)
        except asyncio.CancelledError:
            # gRPC raises this as well when either side cancelled the call; only a cancelled task is to end here.
            task = asyncio.current_task()
            if task is not None and task.cancelling() > 0:
                raise
            why = self._closed_because or f"the control plane at {self._address} broke off the session"
            return LinkEnd(LinkFailure.LOST, why)
        finally:
            call.cancel()

    async def _listen(self, call: _Call) -> LinkEnd:
        welcomed = False
        while True:
            try:
                async with asyncio.timeout(None if welcomed else self._welcome_seconds_max):
                    message = await call.read()
            except TimeoutError:
                text = f"the control plane at {self._address} took the call but sent no welcome"
                return LinkEnd(LinkFailure.LOST, text)
            if not isinstance(message, agent_pb2.ControlMessage):
                return LinkEnd(LinkFailure.LOST, f"the control plane at {self._address} ended the session")
            heard = control_event(message)
            if heard is None:
                _log.warning("message_not_understood", do="upgrade stoker-agent on this node")
                continue
            welcomed = welcomed or isinstance(heard, Welcome)
            self._on_heard(heard)

    async def _write(self, call: _Call) -> None:
        while True:
            message = await self._unsent.get()
            try:
                await call.write(agent_message(message))
            except (grpc.RpcError, asyncio.InvalidStateError):
                return  # the call is over; the listener says why
            except (ValueError, TypeError):
                _log.exception("message_not_sendable", kind=type(message).__name__)

    async def _end(self, error: grpc.aio.AioRpcError, identity: NodeIdentity, *, opened: bool) -> LinkEnd:
        if self._closed_because is not None:
            return LinkEnd(LinkFailure.LOST, self._closed_because)
        problem = explain(error, self._address)
        if not opened and error.code() is grpc.StatusCode.UNAVAILABLE:
            found = await diagnose(self._address, ca_pem=identity.ca_pem, identity_path=self._store.node_path)
            problem = found or problem
        return LinkEnd(_failure(problem, opened=opened), str(problem))


def _failure(problem: LinkError, *, opened: bool) -> LinkFailure:
    match problem:
        case CertificateNotTrustedError():
            return LinkFailure.UNTRUSTED
        case RefusedByControlPlaneError():
            return LinkFailure.REFUSED
        case _:
            return LinkFailure.LOST if opened else LinkFailure.UNREACHABLE
