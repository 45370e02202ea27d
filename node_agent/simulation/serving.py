"""Simulated engines that answer over HTTP, in real time: one port for each, and its KV events on another.

Made by `life`. It brings the engines to the present as often as somebody waits for a token of theirs. An engine that the
control plane starts gets its ports when it is seen here, which is before its first report.
"""

import asyncio
import ssl
from dataclasses import dataclass, field

import structlog

from node_agent.clock import Clock
from node_agent.link.identity import IdentityStore
from node_agent.simulation.engine_process import EngineProcess
from node_agent.simulation.fleet import SimulatedFleet
from node_agent.simulation.http_app import EngineApp
from node_agent.simulation.kv_publisher import KvPublisher
from node_agent.simulation.node import SimulatedNode
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)
_BEAT_SECONDS = 0.002  # how soon a token that is due is sent
_KV_PORTS_AHEAD = 10_000  # the KV events of the engine at port P are at P + this


@dataclass(frozen=True, slots=True)
class Access:
    bind_host: str
    advertise_host: str
    port_first: int
    store: IdentityStore | None  # whose certificate engines show; None: without TLS


@dataclass(slots=True)
class Serving:
    fleet: SimulatedFleet
    clock: Clock
    access: Access
    _apps: dict[EngineProcess, EngineApp] = field(default_factory=dict)
    _next_port: int = 0
    _scope: TaskScope = field(default_factory=lambda: TaskScope("engines over HTTP"))

    async def start(self) -> None:
        self._next_port = self.access.port_first
        await self._attach_all()
        for process, app in self._apps.items():
            _log.info(
                "engine_serves", engine_id=process.plan.spec.engine_id, endpoint=process.endpoint, kv=app.kv_endpoint
            )

    async def run(self) -> None:
        """Until cancelled."""
        async with self._scope:
            while True:
                await self._attach_all()
                now = self.clock.monotonic() - self.fleet.began_seconds
                for process, app in self._apps.items():
                    if app.busy or process.engine is None:
                        process.advance(now)
                        app.progress()
                await asyncio.sleep(_BEAT_SECONDS)

    def kv_endpoint(self, process: EngineProcess) -> str:
        return self._apps[process].kv_endpoint

    async def close(self) -> None:
        for app in self._apps.values():
            await app.close()
        self._apps.clear()
        await self._scope.close()

    async def _attach_all(self) -> None:
        for node in self.fleet.nodes:
            for process in node.engines.values():
                if process not in self._apps:
                    await self._attach(node, process)
        for process in [process for process in self._apps if process.ended]:
            await self._apps.pop(process).close()

    async def _attach(self, node: SimulatedNode, process: EngineProcess) -> None:
        port, self._next_port = self._next_port, self._next_port + 1
        publisher = KvPublisher(self.access.bind_host, port + _KV_PORTS_AHEAD, process.plan.model.limits.block_tokens)
        app = EngineApp(process, lambda: self.clock.monotonic() - self.fleet.began_seconds, self.clock, publisher)
        tls = None if self.access.store is None else _tls(self.access.store)
        await app.listen(self._scope, self.access.bind_host, port, tls)
        process.endpoint = f"{self.access.advertise_host}:{port}"
        self._apps[process] = app


def _tls(store: IdentityStore) -> ssl.SSLContext:
    """As real engines: the node's certificate, for clients of the gateway's CA and the agent's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(store.engine_path)
    context.load_verify_locations(store.engine_clients_path)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
