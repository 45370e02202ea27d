"""Keys, headers, refusals, paths and sizes, as clients see them through a real Envoy while the daemon lives."""

import asyncio
import json
from typing import Any

import jwt
import openai
import pytest

from controlplane.policies.decision import Admit, Refuse
from tests.fakes.engine_server import FakeEngine
from tests.integration.gateway.harness import CHAT, Gateway, SigningKey, error_of

pytestmark = pytest.mark.envoy
ASK = {"model": "org/llama", "messages": [{"role": "user", "content": "hello"}]}


async def test_keys_are_checked(served: Gateway) -> None:
    good = served.signing.api_key()
    head, payload, signature = good.split(".")
    stranger = SigningKey("k1")
    wrong = {
        "none": None,
        "nonsense": "Bearer sk-1234",
        "tampered": f"Bearer {head}.{payload[:-2]}xx.{signature}",
        "other signer": f"Bearer {stranger.api_key()}",
        "alg none": "Bearer " + _unsigned(),
        "expired": f"Bearer {served.signing.api_key(exp=1_000_000_000)}",
        "other issuer": f"Bearer {served.signing.api_key(iss='someone')}",
        "no tenant": f"Bearer {served.signing.api_key(tenant='')}",
    }
    async with served.client(headers={}) as client:
        for what, authorization in wrong.items():
            headers = {"authorization": authorization} if authorization else {}
            for response in (
                await client.post(CHAT, json=ASK, headers=headers),
                await client.get("/v1/models", headers=headers),
                await client.get("/elsewhere", headers=headers),
            ):
                assert response.status_code == 401, what
                assert error_of(response)["code"] == "invalid_api_key"
                assert "www-authenticate" not in response.headers or good not in response.headers["www-authenticate"]
        in_query = await client.post(f"{CHAT}?access_token={good}", json=ASK)
        assert in_query.status_code == 401
    assert not served.asked


def _unsigned() -> str:
    return jwt.encode({"iss": "stoker", "sub": "acme", "jti": "x"}, "", algorithm="none")


async def test_request_reaches_its_model_with_the_trusted_tenant(served: Gateway, llama: FakeEngine) -> None:
    served.answer = Admit((llama.endpoint,), ("llama-1",))
    lies = {
        "x-stoker-tenant": "victim",
        "X-Stoker-Key-Id": "k",
        "x-stoker-anything": "1",
        "x-gateway-destination-endpoint": "127.0.0.1:1",
        "x-request-id": "chosen-by-client",
        "x-envoy-retry-on": "5xx",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-forwarded-for": "10.0.0.1",
        "x_stoker_tenant": "victim",
    }
    async with served.client() as client:
        response = await client.post(CHAT, json=ASK, headers=lies)
    assert response.status_code == 200
    asked, seen = served.asked[-1], llama.seen[-1]
    assert (asked.tenant, asked.key_id, asked.path) == ("acme", "key-1", CHAT)
    assert json.loads(asked.body) == ASK
    assert asked.request_id == seen.headers["x-request-id"] == response.headers["x-request-id"] != "chosen-by-client"
    assert seen.headers["x-stoker-tenant"] == "acme"
    internal = {name for name in seen.headers if name.startswith(("x-stoker", "x-gateway", "x-envoy", "x_stoker"))}
    assert internal == {"x-stoker-tenant"}
    assert "authorization" not in seen.headers
    leaked = {name for name in response.headers if name.startswith(("x-stoker", "x-gateway", "x-envoy"))}
    assert not leaked
    assert "server" not in response.headers


async def test_openai_client_works(served: Gateway) -> None:
    key = served.signing.api_key()
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{served.base_url}/v1", max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == ["org/llama", "qwen"]
        assert (await client.models.retrieve("org/llama")).id == "org/llama"
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("org/none")
        assert missing.value.code == "model_not_found"
        whole = await client.chat.completions.create(model="qwen", messages=[{"role": "user", "content": "x"}])
        assert whole.choices[0].message.content == "tok0 tok1 tok2 tok3"
        stream = await client.chat.completions.create(
            model="qwen", messages=[{"role": "user", "content": "x"}], stream=True, max_tokens=7
        )
        assert len([chunk async for chunk in stream]) == 7
        assert (await client.completions.create(model="qwen", prompt="x")).choices[0].text
        assert (await client.embeddings.create(model="qwen", input="x")).data[0].embedding
        with pytest.raises(openai.BadRequestError) as too_long:
            await client.completions.create(model="qwen", prompt="x " * 5000)
        assert "maximum context length" in too_long.value.message


async def test_refusals_reach_the_client_as_they_are(served: Gateway, llama: FakeEngine) -> None:
    served.answer = Refuse(429, "tenant_limit", "Over your limit: 100 %.", "rate_limit_error", None, 2.2)
    async with served.client() as client:
        response = await client.post(CHAT, json=ASK)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "3"
    assert response.headers["x-stoker-reason"] == "tenant_limit"
    expected = {"message": "Over your limit: 100 %.", "type": "rate_limit_error", "param": None, "code": "tenant_limit"}
    assert error_of(response) == expected
    for status in (400, 401, 403, 404, 413, 500, 502, 503, 504):
        served.answer = Refuse(status, "mine", "As the daemon said.")
        async with served.client() as client:
            response = await client.post(CHAT, json=ASK)
        assert response.status_code == status
        assert error_of(response)["code"] == "mine"
        end = await served.ended(response.headers["x-request-id"])
        assert (end.status, end.refused) == (status, True)
    assert not llama.seen


async def test_decision_sees_bad_bodies_and_answers_them(served: Gateway) -> None:
    served.answer = Refuse(400, "invalid_json", "Not JSON.")
    async with served.client() as client:
        for body in (b"{", b"", b"[]", b'{"model": 5}', b"\xff\xfe"):
            assert error_of(await client.post(CHAT, content=body))["code"] == "invalid_json"
    assert len(served.asked) == 5


async def test_paths_methods_and_sizes(served: Gateway) -> None:
    async with served.client() as client:
        for path in ("/", "/v1", "/metrics", "/health", "/tokenize", "/v1/chat/completions/x", "/v1/load_lora_adapter",
                     "/v1/chat/../../metrics", "/stoker-health", "/v1/models/../../health"):  # fmt: skip
            response = await client.post(path, json=ASK)
            assert response.status_code in {404, 405}, path
            assert error_of(response)["code"] in {"unknown_url", "method_not_allowed"}
        assert (await client.get("/metrics")).status_code == 404
        for method, path, allowed in (
            ("GET", CHAT, "POST"),
            ("DELETE", "/v1/models", "GET"),
            ("PUT", "/v1/models/qwen", "GET"),
        ):
            response = await client.request(method, path)
            assert response.status_code == 405
            assert response.headers["allow"] == allowed
            assert error_of(response)["code"] == "method_not_allowed"
        assert not served.asked
        large = await client.post(CHAT, content=b"x" * (served.settings.body_bytes_max + 1))
        assert large.status_code == 413
        assert error_of(large)["code"] == "request_too_large"
        huge_header = await client.get("/v1/models", headers={"x-big": "x" * 100_000})
        assert huge_header.status_code == 431
        nearly = json.dumps({**ASK, "pad": "x" * (served.settings.body_bytes_max - 1000)})
        assert (await client.post(CHAT, content=nearly)).status_code == 200


async def test_unknown_model(served: Gateway) -> None:
    async with served.client() as client:
        unknown: tuple[dict[str, Any], ...] = (
            {"messages": []},
            {"model": "nobody"},
            {"model": "org/llama "},
            {"model": ["qwen"]},
            {"model": None},
        )
        for body in unknown:
            response = await client.post(CHAT, json=body)
            assert response.status_code == 404
            assert error_of(response)["code"] == "model_not_found"
            assert error_of(response)["param"] == "model"


async def test_errors_of_the_protocol_have_the_same_form(served: Gateway) -> None:
    key = served.signing.api_key()
    get = f"GET /v1/models HTTP/%s\r\nhost: x\r\nauthorization: Bearer {key}\r\n%s\r\n"
    asked = {
        get % ("1.0", ""): (426, "http_version"),
        get % ("1.1", "connection: upgrade\r\nupgrade: websocket\r\n"): (403, "not_allowed"),
        "NONSENSE\r\n\r\n": (400, "bad_request"),
    }
    for text, (status, code) in asked.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", served.settings.listen_port)
        writer.write(text.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert f" {status} ".encode() in head, head
        assert b"server:" not in head.lower()
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        assert body["error"]["code"] == code
        writer.close()
