"""A stand-in for one vLLM engine's HTTP server: OpenAI paths, streaming, errors, and faults on demand.

Used by the gateway's tests and benchmark, in a thread of the test's process (`FakeEngine` as a context manager) or as a
process of its own (`python -m tests.fakes.engine_server --port N`). Generates no language: "tok0 tok1 …".
"""

import argparse
import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(slots=True)
class Faults:
    """Changed by tests while the engine runs."""

    first_token_seconds: float = 0.0
    token_seconds: float = 0.0
    hang: bool = False  # take the request and never answer
    abort_after_tokens: int | None = None  # cut the connection in the middle of the stream
    gate: threading.Event | None = None  # a stream's last half waits for it


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the engine got it."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class EngineApp:
    """The ASGI application."""

    model: str = "fake"
    name: str = "engine"
    context_tokens_max: int = 4096
    faults: Faults = field(default_factory=Faults)
    seen: list[Seen] = field(default_factory=list)
    disconnects: int = 0
    running: int = 0
    tokens_total: int = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] == "/health":
            await _reply(send, 200, b"")
        elif scope["path"] == "/metrics":
            text = f"vllm:num_requests_running {self.running}\nvllm:generation_tokens_total {self.tokens_total}\n"
            await _reply(send, 200, text.encode(), b"text/plain")
        else:
            self.seen.append(Seen(scope["path"], headers, body))
            self.running += 1
            try:
                await self._serve(scope["path"], body, receive, send)
            finally:
                self.running -= 1

    async def _serve(self, path: str, body: bytes, receive: Receive, send: Send) -> None:
        try:
            asked = json.loads(body)
        except ValueError:
            await _error(send, 400, "The body is not JSON.", "BadRequestError", None)
            return
        if asked.get("model") != self.model:
            await _error(send, 404, f"The model `{asked.get('model')}` does not exist.", "NotFoundError", "model")
            return
        prompt_tokens = len(
            json.dumps(asked.get("messages") or asked.get("prompt") or asked.get("input") or "").split()
        )
        if prompt_tokens > self.context_tokens_max:
            message = f"This model's maximum context length is {self.context_tokens_max} tokens."
            await _error(send, 400, message, "BadRequestError", "messages")
            return
        if self.faults.hang:
            await self._until_disconnect(receive)
            return
        if path == "/v1/embeddings":
            data = [{"object": "embedding", "index": 0, "embedding": [0.0, 1.0]}]
            usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
            await _json(send, {"object": "list", "model": self.model, "data": data, "usage": usage})
            return
        await self._generate(path.endswith("/chat/completions"), asked, prompt_tokens, receive, send)

    async def _generate(
        self, chat: bool, asked: dict[str, Any], prompt_tokens: int, receive: Receive, send: Send
    ) -> None:
        count = int(asked.get("max_tokens") or asked.get("max_completion_tokens") or 4)
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": count, "total_tokens": prompt_tokens + count}
        kind = "chat.completion" if chat else "text_completion"
        base: dict[str, Any] = {"id": "cmpl-fake", "created": 0, "model": self.model, "system_fingerprint": self.name}
        if not asked.get("stream"):
            await asyncio.sleep(self.faults.first_token_seconds + count * self.faults.token_seconds)
            text = " ".join(f"tok{index}" for index in range(count))
            part: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choice = {"index": 0, "finish_reason": "length", **part}
            self.tokens_total += count
            await _json(send, {**base, "object": kind, "choices": [choice], "usage": usage})
            return
        streaming = asyncio.current_task()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._stop_on_disconnect(receive, streaming))
            try:
                await self._stream(
                    base, chat, count, usage if (asked.get("stream_options") or {}).get("include_usage") else None, send
                )
            except asyncio.CancelledError:
                if streaming is None or not watching.done():
                    raise
                streaming.uncancel()
            watching.cancel()

    async def _stream(
        self, base: dict[str, Any], chat: bool, count: int, usage: dict[str, int] | None, send: Send
    ) -> None:
        kind = "chat.completion.chunk" if chat else "text_completion"
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await asyncio.sleep(self.faults.first_token_seconds)
        for index in range(count):
            if self.faults.abort_after_tokens == index:
                raise ConnectionAbortedError("told to abort")
            gate = self.faults.gate
            while gate is not None and index >= count // 2 and not gate.is_set():  # noqa: ASYNC110 - the gate is a thread's
                await asyncio.sleep(0.005)
            delta: dict[str, Any] = {"delta": {"content": f"tok{index} "}} if chat else {"text": f"tok{index} "}
            choice = {"index": 0, "finish_reason": "length" if index == count - 1 else None, **delta}
            self.tokens_total += 1
            await _event(send, {**base, "object": kind, "choices": [choice]})
            await asyncio.sleep(self.faults.token_seconds)
        if usage is not None:
            await _event(send, {**base, "object": kind, "choices": [], "usage": usage})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

    async def _stop_on_disconnect(self, receive: Receive, streaming: asyncio.Task[Any] | None) -> None:
        await self._until_disconnect(receive)
        if streaming is not None:
            streaming.cancel()

    async def _until_disconnect(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.disconnects += 1


async def _reply(send: Send, status: int, body: bytes, kind: bytes = b"application/json") -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _json(send: Send, value: Any, status: int = 200) -> None:
    await _reply(send, status, json.dumps(value).encode())


async def _error(send: Send, status: int, message: str, kind: str, param: str | None) -> None:
    await _json(send, {"error": {"message": message, "type": kind, "param": param, "code": status}}, status)


async def _event(send: Send, value: Any) -> None:
    await send({"type": "http.response.body", "body": f"data: {json.dumps(value)}\n\n".encode(), "more_body": True})


@dataclass(frozen=True, slots=True)
class EngineTls:
    """The engine's own certificate, and the CA that must have signed whoever connects."""

    certificate: Path
    key: Path
    client_ca: Path


class FakeEngine:
    """The application on a port of its own, served from a thread; stops with the `with` block."""

    def __init__(
        self, model: str = "fake", *, name: str = "engine", port: int = 0, tls: EngineTls | None = None
    ) -> None:
        self.app = EngineApp(model=model, name=name)
        self.faults = self.app.faults
        self._tls = tls
        self._listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind(("127.0.0.1", port))
        self.port = int(self._listening.getsockname()[1])
        self.endpoint = f"127.0.0.1:{self.port}"
        self._server = uvicorn.Server(_config(self.app, tls))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def seen(self) -> list[Seen]:
        return self.app.seen

    def __enter__(self) -> Self:
        self._listening.listen(1024)  # connections wait in the backlog until the thread serves them
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Die at once: connections are cut, new ones refused."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cut_connections)
            self._thread.join(timeout=10)
        self._listening.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._server.serve(sockets=[self._listening]))

    def _cut_connections(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        for connection in list(self._server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


def _config(app: EngineApp, tls: EngineTls | None, **more: Any) -> uvicorn.Config:
    if tls is not None:
        more |= {
            "ssl_certfile": str(tls.certificate),
            "ssl_keyfile": str(tls.key),
            "ssl_ca_certs": str(tls.client_ca),
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
        }
    return uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, **more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="fake")
    parser.add_argument("--first-token-seconds", type=float, default=0.0)
    parser.add_argument("--token-seconds", type=float, default=0.0)
    options = parser.parse_args()
    faults = Faults(first_token_seconds=options.first_token_seconds, token_seconds=options.token_seconds)
    uvicorn.Server(
        _config(EngineApp(model=options.model, faults=faults), None, host="127.0.0.1", port=options.port)
    ).run()


if __name__ == "__main__":
    main()
