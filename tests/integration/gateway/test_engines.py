"""Which engine gets a request, and models, engines and signing keys that come and go while Envoy runs."""

import threading
from collections.abc import Awaitable

import pytest

from controlplane.policies.decision import Admit
from tests.fakes.engine_server import FakeEngine
from tests.integration.gateway.harness import CHAT, Gateway, SigningKey, error_of, eventually, gateway, write_jwks

pytestmark = pytest.mark.envoy
ASK = {"model": "org/llama", "messages": [{"role": "user", "content": "hello"}]}


async def test_list_is_tried_in_order(
    served: Gateway, llama: FakeEngine, llama_twin: FakeEngine, qwen: FakeEngine
) -> None:
    async with served.client() as client:
        for engine in (llama, llama_twin, llama, llama_twin):
            served.answer = Admit((engine.endpoint,), (engine.app.name,))
            for _ in range(4):
                answered = await client.post(CHAT, json=ASK)
                assert answered.json()["system_fingerprint"] == engine.app.name
        llama.stop()
        served.answer = Admit((llama.endpoint, llama_twin.endpoint), ("llama-1", "llama-2"))
        for _ in range(5):
            answered = await client.post(CHAT, json=ASK)
            assert answered.json()["system_fingerprint"] == "llama-2"
        end = await served.ended(answered.headers["x-request-id"])
        assert (end.attempts_count, end.endpoint) == (2, llama_twin.endpoint)
        # An endpoint that is none of the model's is not obeyed, even from the decision service.
        served.answer = Admit((qwen.endpoint,), ("qwen-1",))
        assert (await client.post(CHAT, json=ASK)).json()["system_fingerprint"] == "llama-2"
    assert not qwen.seen


async def test_no_engine_left(served: Gateway, llama: FakeEngine, qwen: FakeEngine) -> None:
    qwen.stop()
    async with served.client() as client:
        response = await client.post(CHAT, json={**ASK, "model": "qwen"})
        assert response.status_code == 503
        assert error_of(response)["code"] == "engine_unreachable"
        served.serve(llama, names=("qwen",))

        async def empty() -> bool:
            answer = await client.post(CHAT, json={**ASK, "model": "qwen"})
            return answer.status_code == 503 and error_of(answer)["code"] == "no_engine_available"

        await eventually(empty, "a model without engines")
        assert [entry["id"] for entry in (await client.get("/v1/models")).json()["data"]] == ["org/llama", "qwen"]


async def test_models_come_and_go(served: Gateway, llama: FakeEngine, llama_twin: FakeEngine, qwen: FakeEngine) -> None:
    pid = served.supervisor.status.pid
    with FakeEngine("new:model", name="new-1") as fresh:
        async with served.client() as client:

            async def status(model: str) -> int:
                return (await client.post(CHAT, json={**ASK, "model": model})).status_code

            assert await status("new:model") == 404
            assert served.serve(llama, llama_twin, qwen, fresh)
            assert not served.serve(llama, llama_twin, qwen, fresh)
            await eventually(lambda: _is(status("new:model"), 200), "the new model")
            assert (await client.get("/v1/models/new%3Amodel")).json()["id"] == "new:model"
            # A model that goes in the middle of an answer: the answer is finished.
            fresh.faults.gate = threading.Event()
            async with client.stream("POST", CHAT, json={**ASK, "model": "new:model", "stream": True}) as response:
                lines = response.aiter_lines()
                first = await anext(lines)
                assert first.startswith("data: ")
                assert served.serve(llama, qwen)
                await eventually(lambda: _is(status("new:model"), 404), "the model going")
                fresh.faults.gate.set()
                rest = [line async for line in lines if line]
            assert rest[-1] == "data: [DONE]"
            assert [entry["id"] for entry in (await client.get("/v1/models")).json()["data"]] == ["org/llama", "qwen"]
            assert "new-model" not in (served.settings.xds_dir / "cds.json").read_text()
    assert served.supervisor.status.pid == pid


async def _is(coroutine: Awaitable[int], expected: int) -> bool:
    return await coroutine == expected


async def test_signing_keys_rotate_without_a_restart(served: Gateway) -> None:
    fresh = SigningKey("k2")
    old, new = served.headers(), {"authorization": f"Bearer {fresh.api_key()}"}
    async with served.client(headers={}) as client:

        async def statuses() -> tuple[int, int]:
            a = (await client.get("/v1/models", headers=old)).status_code
            return a, (await client.get("/v1/models", headers=new)).status_code

        assert await statuses() == (200, 401)
        write_jwks(served.settings.jwks_path, served.signing, fresh)
        served.files.write_static()

        async def both() -> bool:
            return await statuses() == (200, 200)

        await eventually(both, "both keys")
        write_jwks(served.settings.jwks_path, fresh)
        served.files.write_static()

        async def only_new() -> bool:
            return await statuses() == (401, 200)

        await eventually(only_new, "the old key refused")


async def test_thousand_models_fit(llama: FakeEngine) -> None:
    async with gateway() as built:
        await built.start(llama)
        built.serve(llama, names=tuple(f"org/model-{index}" for index in range(1000)))
        async with built.client() as client:

            async def all_listed() -> bool:
                return len((await client.get("/v1/models")).json()["data"]) == 1001

            await eventually(all_listed, "a thousand models")
            assert (await client.post(CHAT, json=ASK)).status_code == 200


async def test_full_memory_refuses_instead_of_growing(qwen: FakeEngine) -> None:
    async with gateway(memory_bytes_max=1 << 20) as built:
        await built.start(qwen)
        async with built.client() as client:

            async def refused() -> bool:
                response = await client.post(CHAT, json={**ASK, "model": "qwen"})
                return response.status_code == 503 and error_of(response)["code"] == "service_unavailable"

            await eventually(refused, "the refusal")
