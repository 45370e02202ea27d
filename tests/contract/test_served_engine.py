"""What clients, routers and the agent ask of a served engine, on a simulated one and on a real vLLM.

The real one is started by hand, for it takes long, and named: STOKER_TEST_ENGINE=http://HOST:PORT, with its KV events at
STOKER_TEST_ENGINE_KV=tcp://HOST:PORT.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import msgspec
import pytest
import zmq
import zmq.asyncio

from node_agent.clock import SystemClock
from node_agent.probes.metrics import read_metrics
from node_agent.simulation.fleet import SimulatedFleet, scaled
from node_agent.simulation.scenario_loading import scenario_of
from node_agent.simulation.serving import Access, Serving
from tests.support.served import DEADLINE_SECONDS

SCENARIO = {"nodes": [{"count": 1, "provider": "gcp", "region": "r", "model": "llama-3-8b"}]}


@dataclass(frozen=True)
class Target:
    url: str
    kv_endpoint: str


@pytest.fixture(params=["simulated", "real"])
async def target(request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    if request.param == "real":
        url = os.environ.get("STOKER_TEST_ENGINE")
        if not url:
            pytest.skip("no real engine was named in STOKER_TEST_ENGINE")
        yield Target(url, os.environ.get("STOKER_TEST_ENGINE_KV", ""))
        return
    clock = SystemClock()
    scenario = scenario_of(SCENARIO, "test")
    fleet = SimulatedFleet(scenario, 1, clock.now(), clock.monotonic(), "sim", speed=10.0, with_traffic=False)
    fleet.build(scaled(scenario, None))
    serving = Serving(fleet, clock, Access("127.0.0.1", "127.0.0.1", free_port(), None))
    await serving.start()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(serving.run())
        try:
            [process] = fleet.nodes[0].engines.values()
            yield Target(f"http://{process.endpoint}", serving.kv_endpoint(process))
        finally:
            running.cancel()
    await serving.close()


def free_port() -> int:
    """With those for KV events above it free as well, as far as a look can tell."""

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return port % 20_000 + 20_000


@contextlib.asynccontextmanager
async def client(target: Target) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=target.url, timeout=DEADLINE_SECONDS, trust_env=False) as made:
        yield made


async def model_of(asking: httpx.AsyncClient) -> str:
    return str((await asking.get("/v1/models")).json()["data"][0]["id"])


async def test_it_says_what_it_is(target: Target) -> None:
    async with client(target) as asking:
        assert (await asking.get("/health")).status_code == 200
        assert (await asking.get("/version")).json()["version"]
        [model] = (await asking.get("/v1/models")).json()["data"]
        assert model["object"] == "model"
        assert model["max_model_len"] > 0


@pytest.mark.parametrize("chat", [True, False])
async def test_an_answer_at_once(target: Target, chat: bool) -> None:
    async with client(target) as asking:
        answer = (await ask(asking, chat, "Tell me of the sea.", 7)).json()
        assert answer["usage"]["completion_tokens"] == 7
        assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + 7
        [choice] = answer["choices"]
        assert choice["finish_reason"] == "length"
        assert choice["message"]["content"] if chat else choice["text"]


@pytest.mark.parametrize("chat", [True, False])
async def test_an_answer_token_by_token(target: Target, chat: bool) -> None:
    async with client(target) as asking:
        body = await asked(asking, chat, "Tell me of the sea.", 9)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        async with asking.stream("POST", path(chat), json=body) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = [line async for line in answer.aiter_lines()]
        events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        chunks = [json.loads(event) for event in events[:-1]]
        assert chunks[-1]["usage"]["completion_tokens"] == 9
        assert len({chunk["id"] for chunk in chunks}) == 1
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1] == "length"


async def test_metrics_are_read_as_those_of_any_engine_and_move(target: Target) -> None:
    async with client(target) as asking:
        before = read_metrics((await asking.get("/metrics")).text)
        await ask(asking, False, "word " * 300, 5)
        after = read_metrics((await asking.get("/metrics")).text)
        assert after.counters.generation_tokens == (before.counters.generation_tokens or 0) + 5
        assert (after.counters.prompt_tokens or 0) > (before.counters.prompt_tokens or 0)
        assert after.counters.requests_finished == (before.counters.requests_finished or 0) + 1
        assert after.gauges.kv_capacity_tokens
        assert after.gauges.running == 0


async def test_a_prefix_in_common_is_found_again_and_another_salt_is_not(target: Target) -> None:
    async with client(target) as asking:
        prompt = "The beginning that all of them share, again and again. " * 30
        queries = []
        for end, salt in (("a", "x"), ("b", "x"), ("c", "y")):
            before = read_metrics((await asking.get("/metrics")).text).counters.prefix_hit_tokens or 0
            body = await asked(asking, False, prompt + end, 2)
            await asking.post(path(False), json=body | {"cache_salt": salt})
            queries.append((read_metrics((await asking.get("/metrics")).text).counters.prefix_hit_tokens or 0) - before)
        assert queries[1] > 0
        assert queries[2] == 0


@pytest.mark.parametrize(
    ("change", "status"), [({"model": "no-such"}, 404), ({"max_tokens": 0}, 400), ({"prompt": "word " * 200_000}, 400)]
)
async def test_what_cannot_be_served_is_refused(target: Target, change: dict[str, object], status: int) -> None:
    async with client(target) as asking:
        body = await asked(asking, False, "x", 1)
        answer = await asking.post(path(False), json=body | change)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


async def test_kv_events_tell_what_became_resident(target: Target) -> None:
    if not target.kv_endpoint:
        pytest.skip("the engine's KV events were not named in STOKER_TEST_ENGINE_KV")
    context = zmq.asyncio.Context()
    events = context.socket(zmq.SUB)
    events.connect(target.kv_endpoint)
    events.subscribe(b"")
    try:
        async with client(target) as asking, asyncio.timeout(DEADLINE_SECONDS):
            number = 0
            while not await events.poll(100):  # the subscription may not be there yet: say something new until it is
                number += 1
                await ask(asking, False, f"{number} " + "word " * 300, 3)
            topic, sequence, payload = await events.recv_multipart()
            assert len(sequence) == 8
            _, told, _ = msgspec.msgpack.decode(payload)
            stored = [event for event in told if event["type"] == "BlockStored"]
            assert stored
            assert all(len(event["token_ids"]) == event["block_size"] * len(event["block_hashes"]) for event in stored)
            assert topic == b""
    finally:
        events.close(linger=0)
        context.term()


def path(chat: bool) -> str:
    return "/v1/chat/completions" if chat else "/v1/completions"


async def asked(asking: httpx.AsyncClient, chat: bool, text: str, tokens: int) -> dict[str, object]:
    said: dict[str, object] = {"messages": [{"role": "user", "content": text}]} if chat else {"prompt": text}
    return {"model": await model_of(asking), "max_tokens": tokens, "ignore_eos": True, **said}


async def ask(asking: httpx.AsyncClient, chat: bool, text: str, tokens: int) -> httpx.Response:
    return await asking.post(path(chat), json=await asked(asking, chat, text, tokens))
