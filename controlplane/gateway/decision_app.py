"""The decision service: Envoy asks here, once per request, before it sends the request to an engine.

A bare ASGI application on a Unix-domain socket. It reads what Envoy sends, asks the injected `decide`, and translates the
answer; it never decides anything itself. Whatever goes wrong in here lets the request pass (fail open): Envoy then picks one
of the model's engines by itself.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

from controlplane.clock import Clock
from controlplane.gateway.cluster_config import DESTINATION_HEADER
from controlplane.gateway.envoy_config import HEALTH_PATH
from controlplane.gateway.error_bodies import REFUSAL_STAND_INS, error_body
from controlplane.gateway.listener_config import DECISION_HEADER, KEY_ID_HEADER, TENANT_HEADER
from controlplane.policies.decision import Admit, Answer, DecisionRequest, PassThrough, Refuse

Decide = Callable[[DecisionRequest], Awaitable[Answer]]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

log = structlog.get_logger(__name__)

_TENANT = TENANT_HEADER.encode()
_KEY_ID = KEY_ID_HEADER.encode()
_DESTINATION = DESTINATION_HEADER.encode()
_DECISION = DECISION_HEADER.encode()


class _ClientLeftError(Exception):
    """The client hung up (Envoy closed the call) before there was a decision."""


class DecisionApp:
    """The ASGI application. One instance serves one daemon."""

    def __init__(self, decide: Decide, clock: Clock) -> None:
        self._decide = decide
        self._clock = clock

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == HEALTH_PATH:
            await _respond(send, 200, [], b"")
            return
        received = self._clock.monotonic()
        try:
            body = await _read_body(receive)
            answer = await self._answer(_request(scope, body, received), receive)
        except _ClientLeftError:
            return
        await _respond(send, *_translated(answer))

    async def _answer(self, request: DecisionRequest, receive: Receive) -> Answer:
        """Decide, unless the client leaves first."""
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(_until_disconnect(receive))
                answer = await self._decide_or_pass(request)
                watching.cancel()
        except* _ClientLeftError:
            raise _ClientLeftError from None
        return answer

    async def _decide_or_pass(self, request: DecisionRequest) -> Answer:
        try:
            return await self._decide(request)
        except Exception:
            log.exception("decision_failed", request_id=request.request_id, tenant=request.tenant, path=request.path)
            return PassThrough("the decision failed")


def _request(scope: Message, body: bytes, received: float) -> DecisionRequest:
    named = {name: value.decode("latin-1") for name, value in scope["headers"]}
    return DecisionRequest(
        request_id=named.get(b"x-request-id", ""),
        tenant=named.get(_TENANT, ""),
        key_id=named.get(_KEY_ID, ""),
        path=scope["path"],
        body=body,
        received_monotonic=received,
    )


async def _read_body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeftError
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _ClientLeftError


def _translated(answer: Answer) -> tuple[int, Headers, bytes]:
    """The answer as Envoy understands it. Every 200 carries a header: without one Envoy would keep the route that it chose
    before it had read the model."""
    match answer:
        case Admit(endpoints=endpoints) if endpoints:
            return 200, [(_DECISION, b"admitted"), (_DESTINATION, ",".join(endpoints).encode())], b""
        case Admit() | PassThrough():
            return 200, [(_DECISION, b"passed")], b""
        case Refuse():
            body = error_body(answer.message, answer.code, answer.error_type, answer.param).encode()
            headers = [(b"content-type", b"application/json"), (b"x-stoker-reason", answer.code.encode())]
            if answer.retry_after_seconds is not None:
                headers.append((b"retry-after", str(max(1, math.ceil(answer.retry_after_seconds))).encode()))
            return REFUSAL_STAND_INS.get(answer.status, answer.status), headers, body


async def _respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
