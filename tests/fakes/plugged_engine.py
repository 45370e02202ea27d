"""vLLM's API server as the plug-in sees it: an ASGI app in front of an engine client. And an agent that listens to it."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from node_agent.inside.notes import PrefixNote
from node_agent.inside.plugin_codec import Hello, Steps
from node_agent.inside.plugin_server import PluginServer
from node_agent.session.records import RequestRecord

TENANT = b"x-stoker-tenant"
_ROUNDS_MAX = 1000


class EngineClient:
    """Answers every prompt with three tokens; a token is a byte."""

    def __init__(self) -> None:
        self.fail = False
        self.hold = asyncio.Event()
        self.hold.set()
        self.renderer = SimpleNamespace(tokenizer=SimpleNamespace(get_vocab=vocabulary, added_tokens_decoder={}))

    async def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, *, lora_request: Any = None
    ) -> AsyncIterator[Any]:
        delta = sampling_params.output_kind.name == "DELTA"
        for count, letter in enumerate("abc", start=1):
            await self.hold.wait()
            if self.fail and count == 2:
                raise RuntimeError("the engine broke")
            branch = SimpleNamespace(
                index=0,
                token_ids=[ord(letter)] if delta else list(b"abc"[:count]),
                text=letter if delta else "abc"[:count],
            )
            times = SimpleNamespace(
                queued_ts=10.0, scheduled_ts=10.5, first_token_ts=11.0, last_token_ts=12.0, first_token_latency=1.5
            )
            if delta or count == 3:
                yield SimpleNamespace(
                    prompt_token_ids=prompt["prompt_token_ids"],
                    num_cached_tokens=2,
                    metrics=times,
                    finished=count == 3,
                    outputs=[branch],
                )


def vocabulary() -> dict[str, int]:
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + index): byte for index, byte in enumerate(hidden)}


class Server:
    """Renders a chat as its contents in a row. `bodies`: as they came in."""

    def __init__(self, engine_client: Any) -> None:
        self.state = SimpleNamespace(engine_client=engine_client)
        self.bodies: list[bytes] = []
        self.lengths: list[str | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            raw, more = raw + message["body"], message["more_body"]
        self.bodies.append(raw)
        self.lengths.append(dict(scope["headers"]).get(b"content-length", b"").decode() or None)
        try:
            body = json.loads(raw)
            text = body["prompt"] if "prompt" in body else "".join(each["content"] for each in body["messages"])
        except (ValueError, KeyError, TypeError):
            await self._answer(send, 400, b"malformed")
            return
        prompt = {"type": "token", "prompt_token_ids": list(text.encode()), "cache_salt": body.get("cache_salt")}
        stream = body.get("stream", False)
        params = SimpleNamespace(n=1, output_kind=SimpleNamespace(name="DELTA" if stream else "FINAL_ONLY"))
        outputs = self.state.engine_client.generate(prompt, params, "made-here", lora_request=None)
        if not stream:
            said = [output.outputs[0].text async for output in outputs]
            await self._answer(send, 200, said[-1].encode())
            return
        await self._stream(outputs, receive, send)

    async def _stream(self, outputs: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        leaving = asyncio.ensure_future(receive())  # noqa: TID251 - as the server's framework does it
        try:
            async for output in outputs:
                await send({"type": "http.response.body", "body": output.outputs[0].text.encode(), "more_body": True})
                if leaving.done():
                    return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            leaving.cancel()
            await outputs.aclose()

    async def _answer(self, send: Any, status: int, body: bytes) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


@dataclass
class Answer:
    status: int = 0
    body: bytes = b""
    parts: int = 0


async def ask(
    app: Any,
    server: Server,
    body: bytes | dict[str, Any],
    *,
    tenant: str = "acme",
    path: str = "/v1/chat/completions",
    request_id: str = "r1",
    leave_after: int | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
    pieces: int = 1,
) -> Answer:
    """One request, straight into the app. `leave_after`: the client goes after so many parts of the answer."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    cuts = [len(raw) * index // pieces for index in range(pieces + 1)]
    waiting = [
        {"type": "http.request", "body": raw[begin:end], "more_body": end != len(raw)}
        for begin, end in itertools.pairwise(cuts)
    ]
    answer, gone = Answer(), asyncio.Event()

    async def receive() -> Any:
        if waiting:
            return waiting.pop(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            return
        answer.body += message["body"]
        answer.parts += 1
        if answer.parts == leave_after:
            gone.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    named = [(TENANT, tenant.encode())] if tenant else []
    length = (b"content-length", str(len(raw)).encode())
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "app": server,
        "headers": [length, (b"x-request-id", request_id.encode()), *named, *headers],
    }
    await app(scope, receive, send)
    return answer


@dataclass
class ListeningAgent:
    """Keeps what it hears. `sturdy=False`: it keeps no records and says so to nobody, as one that dies at once."""

    path: Path
    sturdy: bool = True
    gather_seconds: float = 0.05
    hellos: list[Hello] = field(default_factory=list)
    steps: list[Steps] = field(default_factory=list)
    notes: list[PrefixNote] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    records: dict[tuple[str, int], RequestRecord] = field(default_factory=dict)
    came: list[int] = field(default_factory=list)

    async def begin(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = PluginServer(self.path, "e1", "i1", self, self._keep, gather_seconds=self.gather_seconds)
        self._server.begin()

    async def end(self) -> None:
        await self._server.close()

    async def _keep(self, key: str, records: Sequence[tuple[int, RequestRecord]]) -> int:
        self.came += [number for number, _ in records]
        if not self.sturdy:
            await asyncio.Event().wait()
        self.records |= {(key, number): record for number, record in records}
        return max(number for number, _ in records)

    def on_greeting(self, hello: Hello) -> None:
        self.hellos.append(hello)

    def on_steps(self, source: str, steps: Steps) -> None:
        self.steps.append(steps)

    def on_note(self, note: PrefixNote) -> None:
        self.notes.append(note)

    def on_trouble(self, sentence: str) -> None:
        self.troubles.append(sentence)


async def until(holds: Callable[[], object]) -> None:
    for _ in range(_ROUNDS_MAX):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")
