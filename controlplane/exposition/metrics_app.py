"""Answers `GET /metrics`: a bare ASGI application. Served by `metrics_server`; makes no page itself, changes nothing."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

METRICS_PATH = "/metrics"
Make = Callable[[str], Awaitable[tuple[str, bytes]]]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = structlog.get_logger(__name__)


class MetricsApp:
    def __init__(self, make: Make) -> None:
        """`make` gives content type and body for what the caller accepts."""
        self._make = make

    async def __call__(self, scope: Message, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] != METRICS_PATH:
            await _respond(send, 404, "text/plain", b"The metrics are at /metrics.\n")
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _respond(send, 405, "text/plain", b"Use GET.\n", (b"allow", b"GET, HEAD"))
            return
        accept = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"accept")
        try:
            kind, body = await self._make(accept)
        except Exception:
            log.exception("metrics_failed")
            await _respond(send, 500, "text/plain", b"The metrics could not be read: see the control plane's log.\n")
            return
        await _respond(send, 200, kind, body)


async def _respond(send: Send, status: int, kind: str, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    named = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})
