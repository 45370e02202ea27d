"""ASGI middleware around vLLM's API (`--middleware stoker_vllm.middleware.RequestMiddleware`).

It trusts the tenant's header: engines answer only the gateway, which sets it, and the agent. For each request that
computes something it puts the tenant's `cache_salt` into the body, takes out what would change the engine's KV events,
and tells the plug-in how the request went. What goes wrong here is told to the agent, and the request goes on; except
that a request which cannot be salted is refused, since tenants must never see each other's part of the prefix cache.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import plugin, request_tap, wire
from .cache_salt import salted
from .report_mode import without_report_mode
from .request_trace import RequestTrace

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Salting = Callable[[bytes, str], bytes]

PATHS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/chat/completions/batch",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/inference/v1/generate",
    }
)
"""Whose bodies may name a `cache_salt`, and which compute."""

_ID_LENGTH_MAX = 200
REFUSAL = json.dumps(
    {
        "error": {
            "message": "This engine cannot keep tenants apart. Try again; another engine may.",
            "type": "server_error",
            "param": None,
            "code": "tenant_not_isolated",
        }
    }
).encode()


class RequestMiddleware:
    def __init__(self, app: App, part_of: plugin.Plugin | None = None, salting: Salting = salted) -> None:
        """vLLM gives the app alone; `part_of` is the plug-in to tell, this process's own by default."""
        self._app = app
        self._plugin = part_of or plugin.shared()
        self._salting = salting
        self._looked_for_engine = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in reversed(scope["headers"])}
        if wire.CANARY_HEADER.encode() in headers:
            await self._app(scope, receive, send)
            return
        self._look_for_engine(scope)
        began_at = _wall_clock()
        body, end = await _read_body(receive)
        tenant = _text(headers.get(wire.TENANT_HEADER.encode(), b""))
        trace = RequestTrace(
            path=scope["path"],
            tenant=tenant,
            request_id=_text(headers.get(b"x-request-id", b""))[:_ID_LENGTH_MAX],
            body=body,
            started_at=began_at,
        )
        try:
            passed = without_report_mode(body) if end is None else body
            passed = self._salting(passed, tenant) if tenant and end is None else passed
        except Exception as error:  # noqa: BLE001 - whatever it is, this tenant's part of the cache is not found
            self._plugin.problem(f"a request cannot be given its tenant's cache_salt and was refused: {error!r}")
            await self._refuse(trace, send)
            return
        if passed is not body:
            scope["headers"] = _with_length(scope["headers"], len(passed))
        await self._serve(trace, scope, _replay(trace, passed, end, receive), send)

    async def _serve(self, trace: RequestTrace, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                trace.answered = True
            await send(message)

        token = request_tap.current.set(trace)
        try:
            await self._app(scope, receive, watched_send)
        except asyncio.CancelledError:
            trace.left = trace.left or not trace.answered
            raise
        except Exception:
            trace.broke = True
            raise
        finally:
            request_tap.current.reset(token)
            trace.finished_at = max(_wall_clock(), trace.started_at)
            self._tell(trace)

    async def _refuse(self, trace: RequestTrace, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(REFUSAL)).encode())]
        trace.status = 503
        trace.finished_at = max(_wall_clock(), trace.started_at)
        self._tell(trace)
        await send({"type": "http.response.start", "status": trace.status, "headers": headers})
        await send({"type": "http.response.body", "body": REFUSAL})

    def _tell(self, trace: RequestTrace) -> None:
        try:
            self._plugin.finished(trace)
        except Exception as error:  # noqa: BLE001 - the request is over, and vLLM goes on
            self._plugin.problem(f"a request cannot be recorded: {error!r}")

    def _look_for_engine(self, scope: Scope) -> None:
        """With the first request, since the engine joins the app after the middleware."""
        if self._looked_for_engine:
            return
        self._looked_for_engine = True
        try:
            engine_client = scope["app"].state.engine_client
            request_tap.attach(engine_client, self._plugin.prompt_known, self._plugin.problem)
            self._plugin.use_tokenizer(engine_client.renderer.tokenizer)
        except Exception as error:  # noqa: BLE001 - requests go on without us
            self._plugin.problem(f"the engine client is not as expected, so requests' tokens are not known: {error!r}")


async def _read_body(receive: Receive) -> tuple[bytes, Message | None]:
    """The body, and the message that ended it too early."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts), message
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts), None


def _replay(trace: RequestTrace, body: bytes, end: Message | None, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": end is not None}]
    if end is not None:
        waiting.append(end)

    async def replayed() -> Message:
        message = waiting.pop(0) if waiting else await receive()
        if message["type"] == "http.disconnect" and not trace.answered:
            trace.left = True
        return message

    return replayed


def _with_length(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    return [(name, str(length).encode() if name.lower() == b"content-length" else value) for name, value in headers]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _wall_clock() -> float:
    return time.time()  # noqa: TID251 - it runs in vLLM, where there is no clock of ours
