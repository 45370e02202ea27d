"""What goes on, and what stays closed, while the daemon is dead; and what a new daemon finds."""

import asyncio
import threading

import httpx
import pytest

from controlplane.policies.decision import Admit, Answer, DecisionRequest
from tests.fakes.engine_server import FakeEngine
from tests.integration.gateway.harness import CHAT, Gateway, SigningKey, error_of, eventually

pytestmark = pytest.mark.envoy
ASK = {"model": "org/llama", "messages": []}


async def test_traffic_goes_on_and_stays_apart(
    served: Gateway, llama: FakeEngine, llama_twin: FakeEngine, qwen: FakeEngine
) -> None:
    await served.kill_daemon()
    async with served.client() as client:
        lies = {"x-gateway-destination-endpoint": qwen.endpoint, "x-stoker-tenant": "victim"}
        for _ in range(20):
            response = await client.post(CHAT, json=ASK, headers=lies)
            assert response.status_code == 200
            assert response.json()["model"] == "org/llama"
        assert not qwen.seen
        assert {seen.headers["x-stoker-tenant"] for seen in llama.seen + llama_twin.seen} == {"acme"}
        assert llama.seen
        assert llama_twin.seen
        assert (await client.post(CHAT, json={**ASK, "model": "qwen"})).json()["system_fingerprint"] == "qwen-1"
        for body in (b"{", b"[]", b'{"model": 5}', b'{"messages": []}', b'{"model": "nobody"}', b"[" * 2_000_000):
            missing = await client.post(CHAT, content=body)
            assert missing.status_code == 404
            assert error_of(missing)["code"] == "model_not_found"
        assert (await client.get("/v1/models")).status_code == 200
        assert (await client.get("/v1/models/qwen")).json()["id"] == "qwen"
        assert (await client.get("/other")).status_code == 404
        stranger = {"authorization": f"Bearer {SigningKey().api_key()}"}
        assert (await client.post(CHAT, json=ASK, headers=stranger)).status_code == 401
        # One of two engines dies, too: nobody notices.
        llama.stop()
        for _ in range(10):
            assert (await client.post(CHAT, json=ASK)).status_code == 200


async def test_death_in_the_middle_and_return(served: Gateway, llama: FakeEngine) -> None:
    served.answer = Admit((llama.endpoint,), ("llama-1",))
    llama.faults.gate = threading.Event()
    async with served.client() as client:
        async with client.stream("POST", CHAT, json={**ASK, "stream": True, "max_tokens": 8}) as response:
            lines = (line async for line in response.aiter_lines() if line)
            first = [await anext(lines)]
            await served.kill_daemon()
            llama.faults.gate.set()
            rest = [line async for line in lines]
        assert len(first + rest) == 9
        await served.start_daemon()

        async def asked_again() -> bool:
            count = len(served.asked)
            assert (await client.post(CHAT, json=ASK)).status_code == 200
            return len(served.asked) > count

        await eventually(asked_again, "the new daemon being asked")
        done = await client.post(CHAT, json=ASK)
        assert (await served.ended(done.headers["x-request-id"])).status == 200


async def test_held_requests_pass_when_the_daemon_dies(served: Gateway) -> None:
    entered = asyncio.Event()

    async def hold(request: DecisionRequest) -> Answer:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    served.answer = hold
    async with served.client() as client:
        call = served.tasks.spawn("client", client.post(CHAT, json=ASK))
        await asyncio.wait_for(entered.wait(), 10)
        await served.kill_daemon()
        assert (await asyncio.wait_for(call, 10)).status_code == 200


async def test_a_decision_that_fails_lets_the_request_pass(served: Gateway) -> None:
    async def fail(request: DecisionRequest) -> Answer:
        raise ZeroDivisionError

    served.answer = fail
    async with served.client() as client:
        assert (await client.post(CHAT, json=ASK)).status_code == 200
        assert len(served.asked) == 1


async def test_a_daemon_that_hangs_is_passed_by(served: Gateway) -> None:
    """Its sockets are open and nothing answers: the health check notices, and new requests pass."""
    answered = threading.Event()
    statuses: list[int] = []

    def ask_until_answered() -> None:
        headers = served.headers()
        for _ in range(20):
            try:
                statuses.append(
                    httpx.post(f"{served.base_url}{CHAT}", json=ASK, headers=headers, timeout=1).status_code
                )
                break
            except httpx.TimeoutException:
                continue
        answered.set()

    caller = threading.Thread(target=ask_until_answered)
    caller.start()
    answered.wait(40)  # blocks the event loop, and with it the whole daemon, until the client has its answer
    caller.join()
    assert statuses == [200]
    async with served.client() as client:

        async def asked_again() -> bool:
            count = len(served.asked)
            assert (await client.post(CHAT, json=ASK)).status_code == 200
            return len(served.asked) > count

        await eventually(asked_again, "the daemon being asked again")


async def test_a_revoked_key_is_refused_everywhere_whoever_lives(served: Gateway, qwen: FakeEngine) -> None:
    """Among so many revoked ones that they need more than one route."""
    others = tuple(f"other-{number}" for number in range(250))
    ask = {"model": "qwen", "messages": []}
    async with served.client(headers=served.headers(key_id="taken-back")) as taken, served.client() as kept:
        assert (await taken.post(CHAT, json=ask)).status_code == 200
        served.serve(qwen, revoked=(*others, "taken-back"))

        async def refused() -> bool:
            return (await taken.get("/v1/models")).status_code == 401

        await eventually(refused, "the revoked key being refused")
        for dead in (False, True):
            if dead:
                await served.kill_daemon()
            for answer in (await taken.post(CHAT, json=ask), await taken.get("/v1/models"), await taken.get("/other")):
                assert answer.status_code == 401
                assert error_of(answer)["code"] == "invalid_api_key"
            assert (await kept.post(CHAT, json=ask)).status_code == 200
