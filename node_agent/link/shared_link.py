"""Many nodes' sessions over a few connections, under one certificate: the link of `stoker-agent simulate`.

`SharedLink` holds the connections, a `NodeStream` is one node's session. The protocol is the one of `session_link`, message
by message; only connections and certificates are shared, since thousands of either would cost more than what is
simulated. Never used by a real agent.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import grpc
import structlog

from controlplane.proto.stoker.v1 import agent_pb2
from node_agent.clock import Clock
from node_agent.link.channel import open_channel
from node_agent.link.codec import agent_message, control_event
from node_agent.link.identity import IdentityStore, NodeIdentity
from node_agent.link.problems import CertificateNotTrustedError, NotJoinedError, RefusedByControlPlaneError
from node_agent.link.report_encoding import ReportEncoder
from node_agent.link.session_link import Heard, LinkEnd
from node_agent.link.statuses import explain
from node_agent.session.commands import Hello, LogLines, Outcome, Report, Welcome
from node_agent.session.facts import NodeEvent
from node_agent.session.protocol import LinkFailure
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)

SESSION_METHOD = "/stoker.v1.AgentService/Session"
_UNSENT_MAX = 64
_OPENING_AT_ONCE_MAX = 100  # a server takes so many new sessions at a time, and turns away what comes in greater floods
_WELCOME_SECONDS_MAX = 30.0

Said = Hello | Report | Outcome | NodeEvent | LogLines
_Call = grpc.aio.StreamStreamCall[bytes, agent_pb2.ControlMessage]


class SharedLink:
    def __init__(self, *, address: str, store: IdentityStore, clock: Clock, channels_count: int = 4) -> None:
        self.address = address
        self._store = store
        self._clock = clock
        self._channels_count = channels_count
        self._identity: NodeIdentity | None = None
        self._channels: list[grpc.aio.Channel] = []
        self._opened_count = 0
        self.opening = asyncio.Semaphore(_OPENING_AT_ONCE_MAX)

    def session(self) -> _Call:
        """A new session on one of the connections. Raises NotJoinedError."""
        identity = self._store.load()
        if identity.not_after <= self._clock.now():
            raise NotJoinedError("the simulator's certificate expired: join again with a new token")
        if self._identity is None or identity.certificate_pem != self._identity.certificate_pem:
            # Sessions that are open keep the connections that they have; new ones show the new certificate.
            self._identity = identity
            self._channels = [
                open_channel(self.address, ca_pem=identity.ca_pem, identity=identity)
                for _ in range(self._channels_count)
            ]
        channel = self._channels[self._opened_count % self._channels_count]
        self._opened_count += 1
        return channel.stream_stream(
            SESSION_METHOD, request_serializer=None, response_deserializer=agent_pb2.ControlMessage.FromString
        )()

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


class NodeStream:
    """One attempt at one node's session. `on_open` and `on_heard` are called in the event loop."""

    def __init__(
        self,
        link: SharedLink,
        *,
        scope: TaskScope,
        encoder: ReportEncoder,
        on_open: Callable[[], None],
        on_heard: Callable[[Heard], None],
    ) -> None:
        self._link = link
        self._scope = scope
        self._encoder = encoder
        self._on_open = on_open
        self._on_heard = on_heard
        self._unsent: deque[bytes] = deque()
        self._writing = False
        self._call: _Call | None = None
        self._closed_because: str | None = None

    def say(self, message: Said) -> None:
        if len(self._unsent) >= _UNSENT_MAX and isinstance(message, Report):
            return  # the peer does not keep up: a further report would only be old news when it arrives
        if isinstance(message, Report):
            self._unsent.append(self._encoder.encode(message))
        else:
            self._unsent.append(agent_message(message).SerializeToString())
        if not self._writing and self._call is not None:
            self._writing = True
            self._scope.spawn(self._write(self._call), name="write")

    def close(self, reason: str) -> None:
        """End this session from our side; `run` then returns."""
        self._closed_because = reason
        if self._call is not None:
            self._call.cancel()

    async def run(self) -> LinkEnd:
        """Until the session has ended, for whatever reason."""
        welcomed = False
        try:
            async with self._link.opening:
                self._call = self._link.session()
                self._on_open()
                async with asyncio.timeout(_WELCOME_SECONDS_MAX):
                    while not welcomed:
                        welcomed = isinstance(self._take(await self._call.read()), Welcome)
            while True:
                self._take(await self._call.read())
        except EOFError:
            return LinkEnd(LinkFailure.LOST, f"the control plane at {self._link.address} ended the session")
        except TimeoutError:
            return LinkEnd(LinkFailure.LOST, f"the control plane at {self._link.address} sent no welcome")
        except NotJoinedError as error:
            return LinkEnd(LinkFailure.UNTRUSTED, str(error))
        except grpc.aio.AioRpcError as error:
            return self._end(error, opened=welcomed)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling() > 0:
                raise
            return LinkEnd(LinkFailure.LOST, self._closed_because or "the session was broken off")
        finally:
            if self._call is not None:
                self._call.cancel()

    def _take(self, message: object) -> Heard | None:
        if isinstance(message, agent_pb2.ControlMessage):
            heard = control_event(message)
            if heard is not None:
                self._on_heard(heard)
            return heard
        raise EOFError

    async def _write(self, call: _Call) -> None:
        try:
            while self._unsent:
                await call.write(self._unsent.popleft())
        except (grpc.RpcError, asyncio.InvalidStateError):
            self._unsent.clear()  # the call is over; the reader says why
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling() > 0:
                raise
        finally:
            self._writing = False

    def _end(self, error: grpc.aio.AioRpcError, *, opened: bool) -> LinkEnd:
        if self._closed_because is not None:
            return LinkEnd(LinkFailure.LOST, self._closed_because)
        problem = explain(error, self._link.address)
        match problem:
            case CertificateNotTrustedError():
                return LinkEnd(LinkFailure.UNTRUSTED, str(problem))
            case RefusedByControlPlaneError():
                return LinkEnd(LinkFailure.REFUSED, str(problem))
        return LinkEnd(LinkFailure.LOST if opened else LinkFailure.UNREACHABLE, str(problem))
