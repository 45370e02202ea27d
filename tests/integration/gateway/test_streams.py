"""Answers under way: streamed, left by the client, cut off by the engine; and what the access log tells of each."""

import asyncio
import threading

import httpx
import pytest

from controlplane.policies.decision import Admit, Answer, DecisionRequest, Refuse
from tests.fakes.engine_server import FakeEngine
from tests.integration.gateway.harness import CHAT, Gateway, error_of, eventually

pytestmark = pytest.mark.envoy
ASK = {"model": "org/llama", "messages": [{"role": "user", "content": "hello"}]}


async def test_stream_passes_chunk_by_chunk(served: Gateway, qwen: FakeEngine) -> None:
    qwen.faults.gate = threading.Event()
    async with served.client() as client:
        ask = {**ASK, "model": "qwen", "stream": True, "max_tokens": 6}
        async with client.stream("POST", CHAT, json=ask) as response:
            lines = (line async for line in response.aiter_lines() if line)
            first = [await anext(lines) for _ in range(3)]  # the engine holds the rest back until now
            assert not qwen.faults.gate.is_set()
            qwen.faults.gate.set()
            rest = [line async for line in lines]
    assert len(first + rest) == 7
    assert rest[-1] == "data: [DONE]"
    end = await served.ended(response.headers["x-request-id"])
    assert not end.client_left
    assert end.response_bytes > 500


async def test_client_that_leaves_is_noticed_by_the_engine(served: Gateway, qwen: FakeEngine) -> None:
    qwen.faults.gate = threading.Event()
    async with served.client() as client:
        async with client.stream("POST", CHAT, json={**ASK, "model": "qwen", "stream": True}) as response:
            await anext(response.aiter_lines())
        await eventually(lambda: qwen.app.disconnects == 1 and qwen.app.running == 0, "the engine's request ending")
        end = await served.ended(response.headers["x-request-id"])
    assert end.client_left
    assert end.status == 200


async def test_client_that_leaves_while_held_cancels_the_decision(served: Gateway, qwen: FakeEngine) -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def hold(request: DecisionRequest) -> Answer:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    served.answer = hold
    async with served.client() as client:
        call = served.tasks.spawn("client", client.post(CHAT, json={**ASK, "model": "qwen"}))
        await asyncio.wait_for(entered.wait(), 10)
        call.cancel()
        await asyncio.wait_for(cancelled.wait(), 10)
    end = await served.ended(served.asked[-1].request_id)
    assert (end.client_left, end.endpoint, end.attempts_count) == (True, "", 0)
    assert not qwen.seen


async def test_engine_that_dies_before_and_in_the_middle(served: Gateway, qwen: FakeEngine) -> None:
    qwen.faults.abort_after_tokens = 2
    async with served.client() as client:
        ask = {**ASK, "model": "qwen", "stream": True}
        lines: list[str] = []

        async def read() -> None:
            async with client.stream("POST", CHAT, json=ask) as response:
                lines.extend([response.headers["x-request-id"]])
                lines.extend([line async for line in response.aiter_lines() if line])

        with pytest.raises(httpx.RemoteProtocolError):
            await read()
        assert "data: [DONE]" not in lines
        end = await served.ended(lines[0])
        assert (end.status, end.cut_off, end.client_left, end.endpoint) == (200, True, False, qwen.endpoint), end
        qwen.faults.abort_after_tokens = None
        qwen.faults.hang = True
        call = served.tasks.spawn("client", client.post(CHAT, json=ask))
        await eventually(lambda: qwen.app.running == 1, "the engine taking the request")
        qwen.stop()
        response = await asyncio.wait_for(call, 10)
        assert response.status_code == 503
        assert error_of(response)["code"] == "engine_unreachable"
        end = await served.ended(response.headers["x-request-id"])
        assert (end.attempts_count, end.engine_failed, end.cut_off) == (
            1,
            True,
            False,
        )  # never repeated: the engine may have begun


async def test_access_log_tells_every_end(served: Gateway, llama: FakeEngine) -> None:
    served.answer = Admit((llama.endpoint,), ("llama-1",))
    async with served.client() as client:
        done = await client.post(f"{CHAT}?a=secret", json=ASK)
        end = await served.ended(done.headers["x-request-id"])
        assert (end.tenant, end.key_id, end.model, end.status) == ("acme", "key-1", "org/llama", 200)
        assert (end.method, end.path, end.endpoint, end.attempts_count) == ("POST", CHAT, llama.endpoint, 1)
        assert (end.flags, end.request_bytes, end.response_bytes) == ((), len(done.request.content), len(done.content))
        assert end.sent_to_engine_seconds is not None
        assert end.first_byte_seconds is not None
        assert end.duration_seconds is not None
        assert 0 < end.sent_to_engine_seconds <= end.first_byte_seconds <= end.duration_seconds < 10
        assert end.started_at.tzinfo is not None
        served.answer = Refuse(429, "limit", "no")
        refused = await served.ended((await client.post(CHAT, json=ASK)).headers["x-request-id"])
        assert (refused.status, refused.refused, refused.endpoint, refused.tenant) == (429, True, "", "acme")
        anonymous = await client.post(CHAT, json=ASK, headers={"authorization": "x"})
        end = await served.ended(anonymous.headers["x-request-id"])
        assert (end.status, end.tenant, end.model, end.refused) == (401, "", "", False)
