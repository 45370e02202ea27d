"""One simulated engine behind the OpenAI API: its tokens come when the engine model says so.

Made by `serving`, one for each engine. It answers as vLLM does where clients, routers and the agent's own probes look; what
it generates is no language.
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from controlplane.simulation.requests import EngineEvent, Finished, SimulatedRequest
from node_agent.clock import Clock
from node_agent.session.facts import EngineState
from node_agent.simulation.engine_process import ENGINE_VERSION, EngineProcess
from node_agent.simulation.http_server import HttpRequest, Reply, listen
from node_agent.simulation.kv_publisher import KvPublisher
from node_agent.simulation.metrics_text import metrics_text
from node_agent.simulation.prompts import block_names, chat_text, output_tokens, tokens_of
from node_agent.tasks import TaskScope

_COMPLETION_TOKENS_DEFAULT = 16
_BLOCKS_KNOWN_MAX = 200_000


@dataclass(slots=True)
class _Live:
    """A request whose tokens somebody waits for."""

    moved: asyncio.Event = field(default_factory=asyncio.Event)
    generated: int = 0
    cached_tokens: int = 0
    ended: bool = False
    failed: bool = False


@dataclass(slots=True)
class EngineApp:
    process: EngineProcess
    seconds: Callable[[], float]  # of the simulation, now
    clock: Clock
    publisher: KvPublisher
    _live: dict[str, _Live] = field(default_factory=dict)
    _blocks: dict[int, tuple[int | None, list[int]]] = field(default_factory=dict)  # name → parent, tokens
    _served_count: int = 0
    _instance: str = ""
    _server: asyncio.Server | None = None
    _scope: TaskScope | None = None

    @property
    def busy(self) -> bool:
        return bool(self._live)

    @property
    def kv_endpoint(self) -> str:
        return self.publisher.endpoint

    async def listen(self, scope: TaskScope, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.publisher.bind()
        self._scope = scope
        scope.spawn(self.publisher.answer_replays(), name="KV replay")
        self.process.on_events = self._heard
        self._server = await listen(scope, host, port, tls, self.handle)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.publisher.close()

    def progress(self) -> None:
        """The engine was brought to the present: tell whoever waits, and publish what became resident."""
        if self._instance != self.process.instance_id or self.process.engine is None:
            self._restarted()
        engine = self.process.engine
        if engine is not None and self._live:
            for request_id, generated in engine.generated().items():
                self._moved(request_id, generated)
        changes = self.process.changes.take() if self.process.changes is not None else []
        if changes and self._scope is not None:
            self._scope.spawn(self._publish(changes), name="KV events")

    async def handle(self, request: HttpRequest, reply: Reply) -> None:
        engine = self.process.engine
        match request.method, request.path:
            case "GET", "/health" | "/ping":
                await reply.send(200 if engine is not None else 503, b"")
            case "GET", "/version":
                await reply.send_json({"version": ENGINE_VERSION})
            case "GET", "/metrics" if engine is not None:
                self.process.advance(self.seconds())
                text = metrics_text(engine, self.process.plan.spec.model)
                await reply.send(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")
            case "GET", "/v1/models":
                await reply.send_json({"object": "list", "data": [self._model()]})
            case "POST", "/v1/chat/completions" | "/v1/completions":
                await self._complete(request, reply, chat=request.path.endswith("chat/completions"))
            case _:
                await _error(reply, 404, "Not Found", "NotFoundError")

    def _model(self) -> dict[str, Any]:
        plan = self.process.plan
        return {
            "id": plan.spec.model,
            "object": "model",
            "created": 0,
            "owned_by": "simulated",
            "root": plan.spec.source,
            "max_model_len": plan.model.shape.context_tokens_max,
        }

    async def _complete(self, request: HttpRequest, reply: Reply, *, chat: bool) -> None:
        try:
            asked = json.loads(request.body)
            text = chat_text(asked["messages"]) if chat else _prompt(asked["prompt"])
            count = int(_first(asked, "max_completion_tokens", "max_tokens") or 0)
            model = asked.get("model")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            await _error(reply, 400, f"The request cannot be read: {type(error).__name__}: {error}", "BadRequestError")
            return
        plan = self.process.plan
        if model not in (None, plan.spec.model):
            await _error(reply, 404, f"The model `{str(model)[:200]}` does not exist.", "NotFoundError")
            return
        if self.process.state is not EngineState.READY:
            await _error(reply, 503, "The engine is not ready.", "ServiceUnavailableError")
            return
        tokens = tokens_of(text) or [0]
        room = plan.model.shape.context_tokens_max - len(tokens)
        if room < 1 or count < 1:
            text = f"This model's maximum context length is {plan.model.shape.context_tokens_max} tokens."
            await _error(reply, 400, f"{text} The prompt has {len(tokens)}.", "BadRequestError")
            return
        made = self._request(request, tokens, min(count, room), str(asked.get("cache_salt") or ""))
        await self._serve(made, asked, reply, chat=chat)

    def _request(self, request: HttpRequest, tokens: list[int], count: int, salt: str) -> SimulatedRequest:
        self._served_count += 1
        tail = (hash((self.process.instance_id, self._served_count)) & (2**63 - 1)) or 1
        block = self.process.plan.model.limits.block_tokens
        names = tuple(block_names(tokens, block, salt))
        given = request.headers.get("x-request-id", "")
        made = SimulatedRequest(f"{given or 'sim'}-{self._served_count}", len(tokens), count, names, tail)
        whole = [*tokens, *output_tokens(tail, count)]
        parent: int | None = None
        for index, name in enumerate(made.names(0, len(whole) // block)):
            self._blocks[name] = (parent, whole[index * block : (index + 1) * block])
            parent = name
        while len(self._blocks) > _BLOCKS_KNOWN_MAX:
            del self._blocks[next(iter(self._blocks))]
        return made

    async def _serve(self, made: SimulatedRequest, asked: dict[str, Any], reply: Reply, *, chat: bool) -> None:
        live = _Live()
        self._live[made.request_id] = live
        try:
            self.process.advance(self.seconds())
            self.process.submit(made)
        except ValueError as error:
            del self._live[made.request_id]
            await _error(reply, 400, f"The request can never be served: {error}.", "BadRequestError")
            return
        answer = _Answer(made, self.process.plan.spec.model, int(self.clock.now().timestamp()), chat=chat)
        try:
            if asked.get("stream"):
                await self._stream(live, answer, asked, reply)
            else:
                while not live.ended:
                    await _moved(live)
                if live.failed:
                    await _error(reply, 500, "The engine died.", "InternalServerError")
                else:
                    await reply.send_json(answer.whole(live))
        finally:
            if not live.ended and self.process.engine is not None:
                self.process.engine.abort(made.request_id)
            self._live.pop(made.request_id, None)

    async def _stream(self, live: _Live, answer: "_Answer", asked: dict[str, Any], reply: Reply) -> None:
        await reply.begin("text/event-stream; charset=utf-8")
        sent = 0
        while not (live.ended and sent >= live.generated):
            while sent < live.generated:
                sent += 1
                await reply.write(_event(answer.chunk(sent)))
            if not live.ended:
                await _moved(live)
        if live.failed:
            return  # cut, as an engine that dies does
        if (asked.get("stream_options") or {}).get("include_usage"):
            await reply.write(_event(answer.last(live)))
        await reply.write(b"data: [DONE]\n\n")
        await reply.end()

    def _moved(self, request_id: str, generated: int) -> None:
        live = self._live.get(request_id)
        if live is not None and generated > live.generated:
            live.generated = generated
            live.moved.set()

    def _heard(self, events: list[EngineEvent]) -> None:
        for event in events:
            live = self._live.get(event.request.request_id)
            if live is None:
                continue
            live.cached_tokens = event.cached_tokens
            if isinstance(event, Finished):
                live.generated, live.ended = event.generated_tokens, True
            live.moved.set()

    def _restarted(self) -> None:
        """The process is another one, or there is none: what it was asked before is lost."""
        if self._instance:
            for live in self._live.values():
                live.ended = live.failed = True
                live.moved.set()
            self.publisher.restarted()
            self._blocks.clear()
        self._instance = self.process.instance_id if self.process.engine is not None else ""

    async def _publish(self, changes: list[tuple[bool, int]]) -> None:
        await self.publisher.publish(self.clock.now().timestamp(), changes, self._blocks)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer's parts, in the API's words."""

    request: SimulatedRequest
    model: str
    created: int
    chat: bool

    def _base(self, kind: str) -> dict[str, Any]:
        stem = "chatcmpl" if self.chat else "cmpl"
        return {"id": f"{stem}-{self.request.request_id}", "object": kind, "created": self.created, "model": self.model}

    def _usage(self, live: _Live) -> dict[str, Any]:
        prompt = self.request.prompt_tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": live.generated,
            "total_tokens": prompt + live.generated,
            "prompt_tokens_details": {"cached_tokens": live.cached_tokens},
        }

    def whole(self, live: _Live) -> dict[str, Any]:
        text = "".join(_word(index) for index in range(1, live.generated + 1))
        part: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **part, "logprobs": None, "finish_reason": "length"}
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._base(kind), "choices": [choice], "usage": self._usage(live)}

    def chunk(self, number: int) -> dict[str, Any]:
        role = {"role": "assistant"} if number == 1 else {}
        part: dict[str, Any] = {"delta": {**role, "content": _word(number)}} if self.chat else {"text": _word(number)}
        reason = "length" if number == self.request.output_tokens else None
        choice = {"index": 0, **part, "logprobs": None, "finish_reason": reason}
        return {**self._base("chat.completion.chunk" if self.chat else "text_completion"), "choices": [choice]}

    def last(self, live: _Live) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self._base(kind), "choices": [], "usage": self._usage(live)}


def _first(asked: dict[str, Any], *names: str) -> Any:
    return next((asked[name] for name in names if asked.get(name) is not None), _COMPLETION_TOKENS_DEFAULT)


def _prompt(prompt: Any) -> str:
    """A text, or token ids, which are as good as words here."""
    if isinstance(prompt, list):
        return "".join(part if isinstance(part, str) else f" {part}" for part in prompt)
    return str(prompt)


def _word(number: int) -> str:
    return f"tok{number} "


async def _moved(live: _Live) -> None:
    await live.moved.wait()
    live.moved.clear()


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


async def _error(reply: Reply, status: int, message: str, kind: str) -> None:
    await reply.send_json({"error": {"message": message, "type": kind, "param": None, "code": status}}, status)
