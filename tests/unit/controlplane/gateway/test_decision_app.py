"""The decision service without a network: what is asked, how answers are written, what happens when things go wrong."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from controlplane.clock import SystemClock
from controlplane.gateway.decision_app import DecisionApp
from controlplane.policies.decision import Admit, Answer, DecisionRequest, PassThrough, Refuse

HEADERS = [(b"x-request-id", b"r1"), (b"x-stoker-tenant", b"acme"), (b"x-stoker-key-id", b"k1")]


class Call:
    """One ASGI call: what comes in, and what went out."""

    def __init__(self, *messages: dict[str, Any], path: str = "/v1/completions") -> None:
        self.scope = {"type": "http", "path": path, "headers": HEADERS}
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for message in messages:
            self.incoming.put_nowait(message)
        self.sent: list[Any] = []

    async def to(self, decide: Callable[[DecisionRequest], Awaitable[Answer]]) -> None:
        async def send(message: Any) -> None:
            self.sent.append(message)

        await DecisionApp(decide, SystemClock())(self.scope, self.incoming.get, send)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


def body(text: bytes = b"{}", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": text, "more_body": more}


def answering(answer: Answer) -> Callable[[DecisionRequest], Awaitable[Answer]]:
    async def decide(request: DecisionRequest) -> Answer:
        return answer

    return decide


async def test_request_is_told_whole() -> None:
    asked: list[DecisionRequest] = []

    async def decide(request: DecisionRequest) -> Answer:
        asked.append(request)
        return PassThrough("")

    await Call(body(b'{"a"', more=True), body(b":1}")).to(decide)
    (request,) = asked
    assert (request.request_id, request.tenant, request.key_id) == ("r1", "acme", "k1")
    assert (request.path, request.body) == ("/v1/completions", b'{"a":1}')
    assert request.received_monotonic > 0


async def test_admission_names_endpoints_best_first() -> None:
    call = Call(body())
    await call.to(answering(Admit(("10.0.0.1:80", "[fd00::1]:80"), ("a", "b"))))
    assert call.status == 200
    assert call.headers[b"x-gateway-destination-endpoint"] == b"10.0.0.1:80,[fd00::1]:80"


@pytest.mark.parametrize("answer", [PassThrough("unknown"), Admit((), ())])
async def test_passing_names_none_but_always_carries_a_header(answer: Answer) -> None:
    call = Call(body())
    await call.to(answering(answer))
    assert call.status == 200
    assert b"x-gateway-destination-endpoint" not in call.headers
    assert call.headers[b"x-stoker-decision"] == b"passed"


@pytest.mark.parametrize(("status", "on_the_wire"), [(400, 400), (404, 404), (429, 429), (503, 483), (500, 480)])
async def test_refusals_never_look_like_our_own_failure(status: int, on_the_wire: int) -> None:
    call = Call(body())
    await call.to(answering(Refuse(status, "why", "Because.", "server_error", "model", 0.2)))
    assert call.status == on_the_wire
    assert call.headers[b"retry-after"] == b"1"
    error = {"message": "Because.", "type": "server_error", "param": "model", "code": "why"}
    assert json.loads(call.sent[1]["body"]) == {"error": error}


async def test_failure_of_the_decision_passes() -> None:
    async def decide(request: DecisionRequest) -> Answer:
        raise LookupError

    call = Call(body())
    await call.to(decide)
    assert call.headers[b"x-stoker-decision"] == b"passed"


@pytest.mark.parametrize("first", [body(b"{", more=True), body()])
async def test_client_that_leaves_gets_no_answer_and_cancels_the_decision(first: dict[str, Any]) -> None:
    cancelled: list[bool] = []

    async def decide(request: DecisionRequest) -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return PassThrough("never")

    call = Call(first, {"type": "http.disconnect"})
    await asyncio.wait_for(call.to(decide), 5)
    assert not call.sent
    assert cancelled == ([] if first["more_body"] else [True])


async def test_health_is_answered_without_a_decision() -> None:
    call = Call(path="/stoker-health")
    await call.to(answering(Refuse(400, "no", "no")))
    assert call.status == 200
