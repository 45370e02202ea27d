"""A whole gateway on loopback: real Envoy, the real decision and access-log services, fake engines, keys made on the spot.

Used by the tests in this directory and by `bench.gateway`. Everything that it starts ends with the `async with` block.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from controlplane.clock import SystemClock
from controlplane.fleet.requests import RequestEnd
from controlplane.gateway.decision_app import DecisionApp
from controlplane.gateway.decision_server import DecisionServer
from controlplane.gateway.endpoint_files import XdsFiles
from controlplane.gateway.envoy_process import EnvoyProcess, EnvoyState
from controlplane.gateway.facts import GatewayEngine, GatewayModels, GatewaySettings
from controlplane.gateway.supervisor import EnvoySupervisor
from controlplane.policies.decision import Answer, DecisionRequest, PassThrough
from controlplane.rpc.access_log import access_log_server
from controlplane.runtime.tasks import TaskScope
from tests.fakes.engine_server import FakeEngine

CHAT = "/v1/chat/completions"
WAIT_SECONDS = 15.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def eventually(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Wait for a condition (a function or a coroutine function) to become true, and return what it returned."""
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what} did not come true within {WAIT_SECONDS} s")
        await asyncio.sleep(0.01)


class SigningKey:
    """What `controlplane.identity` will hold: a private key, and its public half as Envoy reads it."""

    def __init__(self, key_id: str = "k1") -> None:
        self.key_id = key_id
        self.private = ec.generate_private_key(ec.SECP256R1())

    def public(self) -> dict[str, Any]:
        shown = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**shown, "kid": self.key_id, "alg": "ES256", "use": "sig"}

    def api_key(self, tenant: str = "acme", key_id: str = "key-1", **claims: Any) -> str:
        claims = {"iss": "stoker", "sub": tenant, "jti": key_id, **claims}
        return jwt.encode(claims, self.private, algorithm="ES256", headers={"kid": self.key_id})


def write_jwks(path: Path, *keys: SigningKey) -> None:
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps({"keys": [key.public() for key in keys]}))
    fresh.replace(path)


class Gateway:
    def __init__(self, settings: GatewaySettings, signing: SigningKey) -> None:
        self.settings = settings
        self.signing = signing
        self.clock = SystemClock()
        self.files = XdsFiles(settings)
        self.supervisor = EnvoySupervisor(settings, self.files, self.clock)
        self.asked: list[DecisionRequest] = []
        self.ends: list[RequestEnd] = []
        self.answer: Answer | Callable[[DecisionRequest], Awaitable[Answer]] = PassThrough("nobody asked for more")
        self.tasks = TaskScope()
        self.base_url = f"{'https' if settings.client_tls else 'http'}://127.0.0.1:{settings.listen_port}"
        self._decision: DecisionServer | None = None
        self._decision_task: asyncio.Task[None] | None = None
        self._access_log: Any = None

    async def start(self, *engines: FakeEngine, node: str = "") -> None:
        await self.start_daemon()
        self.files.write_static()
        self.serve(*engines, node=node)
        await self.supervisor.start()
        await eventually(self.reaches_decision, "Envoy seeing the decision service")

    async def start_daemon(self) -> None:
        """The half that dies with the daemon."""
        self._decision = DecisionServer(DecisionApp(self._decide, self.clock), self.settings.decision_socket)
        self._decision_task = self.tasks.spawn("decision", self._decision.run())
        await eventually(lambda: self._decision is not None and self._decision.started, "the decision service")
        self._access_log = access_log_server(self.settings.access_log_socket, self.ends.append)
        await self._access_log.start()

    async def kill_daemon(self) -> None:
        """The daemon is gone from one moment to the next: sockets close, calls in flight are cut."""
        if self._decision_task is not None:
            self._decision_task.cancel()
            await asyncio.gather(self._decision_task, return_exceptions=True)
            self._decision_task = None
        if self._access_log is not None:
            await self._access_log.stop(None)
            self._access_log = None
        self.settings.access_log_socket.unlink(missing_ok=True)

    async def reaches_decision(self) -> bool:
        answer = await asyncio.to_thread(self.supervisor._admin._call_blocking, "GET", "/clusters")
        return answer is not None and b"stoker_decision" in answer[1] and b"/failed_active_hc" not in answer[1]

    def serve(
        self, *engines: FakeEngine, node: str = "", names: tuple[str, ...] = (), revoked: tuple[str, ...] = ()
    ) -> bool:
        """Tell Envoy of exactly these engines, and to refuse these keys."""
        facts = tuple(
            GatewayEngine(engine.app.name, engine.app.model, "127.0.0.1", engine.port, node) for engine in engines
        )
        return self.files.apply(replace(GatewayModels.of(facts, names), revoked_key_ids=revoked))

    def headers(self, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.signing.api_key(**claims)}"}

    def client(self, **options: Any) -> httpx.AsyncClient:
        options = {"headers": self.headers(), "timeout": 20, **options}
        return httpx.AsyncClient(base_url=self.base_url, **options)

    async def ended(self, request_id: str) -> RequestEnd:
        """The access log's entry for a request."""
        found = await eventually(
            lambda: [end for end in self.ends if end.request_id == request_id], f"the end of request {request_id}"
        )
        assert len(found) == 1
        end: RequestEnd = found[0]
        return end

    async def stop(self) -> None:
        await self.supervisor.stop(drain_seconds_max=0)
        state = EnvoyState.read(self.settings.state_path)
        left = EnvoyProcess.adopt(state.pid, state.birth) if state is not None else None
        if left is not None:
            os.kill(left.pid, signal.SIGKILL)
            await left.exited()
        await self.kill_daemon()
        await self.tasks.close()

    async def _decide(self, request: DecisionRequest) -> Answer:
        self.asked.append(request)
        return await self.answer(request) if callable(self.answer) else self.answer


@contextlib.asynccontextmanager
async def gateway(**changes: Any) -> AsyncIterator[Gateway]:
    """A gateway that is not started yet; `changes` are fields of its settings."""
    with tempfile.TemporaryDirectory(prefix="gw-") as directory:
        signing = SigningKey()
        jwks = Path(directory) / "jwks.json"
        write_jwks(jwks, signing)
        settings = GatewaySettings(
            run_dir=Path(directory) / "run",
            jwks_path=jwks,
            listen_host="127.0.0.1",
            listen_port=free_port(),
            insecure_upstreams=True,
            concurrency=2,
            held_requests_max=1000,
        )
        built = Gateway(replace(settings, **changes), signing)
        try:
            yield built
        finally:
            await built.stop()


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error of a response, after checking that it has the whole form that OpenAI's clients expect."""
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    error: dict[str, Any] = body["error"]
    return error
