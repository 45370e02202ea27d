"""The main job on real parts: client, Envoy, decision, vLLM, metrics, SQL, operators' view."""

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from cryptography import x509
from openai import OpenAI

from demo.processes import left_over
from demo.stack import MODEL, MODELS_DIR, Stack
from node_agent.clock import SystemClock
from node_agent.link.enrolment import renew
from node_agent.link.identity import IdentityStore

pytestmark = [pytest.mark.vllm, pytest.mark.envoy, pytest.mark.timeout(600)]

HELLO: Any = [{"role": "user", "content": "Hello, who keeps the fire?"}]


@pytest.fixture
def client(stack: Stack, key: str) -> OpenAI:
    return OpenAI(base_url=stack.base_url, api_key=key, max_retries=0, timeout=60)


def until(what: str, condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        threading.Event().wait(0.1)


def history_tokens(stack: Stack) -> int:
    rows = stack.stoker("history", "engines", "--since", "1h")
    return sum((row["prompt_tokens"] or 0) + (row["generation_tokens"] or 0) for row in rows)


def test_what_clients_count_is_what_history_holds(stack: Stack, client: OpenAI) -> None:
    before = history_tokens(stack)
    plain = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=20)
    assert plain.usage is not None
    counted = plain.usage.total_tokens
    chunks = 0
    for chunk in client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=50, stream=True, stream_options={"include_usage": True}
    ):
        chunks += bool(chunk.choices)
        if chunk.usage is not None and not chunk.choices:
            counted += chunk.usage.total_tokens
    completion = client.completions.create(model=MODEL, prompt="The night shift", max_tokens=10)
    assert completion.usage is not None
    counted += completion.usage.total_tokens
    assert chunks > 10, "the answer was not streamed"
    until("history has the tokens", lambda: history_tokens(stack) == before + counted)


def test_the_fleet_is_told_by_model_and_engine(stack: Stack, client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    engines = {row.engine_id: row for row in stack.watcher.view.engines.values()}
    assert {row.provider for row in engines.values()} == {"nimbus", "cumulus"}
    for row in engines.values():
        assert row.kv_capacity_tokens
        assert row.engine_version
    client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=100)
    until(
        "operators see an arithmetic intensity",
        lambda: any(
            row.working_point is not None and (row.working_point.intensity_flops_per_byte or 0) > 0
            for row in stack.watcher.view.engines.values()
        ),
    )


def test_requests_at_once_are_spread_over_both_providers(stack: Stack, key: str) -> None:
    def finished() -> dict[str, int]:
        return {row.engine_id: row.requests_finished_total or 0 for row in stack.watcher.view.engines.values()}

    before = finished()
    threads = [
        threading.Thread(
            target=lambda: OpenAI(base_url=stack.base_url, api_key=key, timeout=60).completions.create(
                model=MODEL, prompt="steam", max_tokens=60
            )
        )
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until("both engines finished some", lambda: all(finished()[key] >= before[key] + 2 for key in before))


def engine_processes(stack: Stack) -> set[tuple[int, float]]:
    """The API servers of the fleet's engines: pid and time of start."""
    return {
        (process.pid, process.create_time())
        for process in left_over(str(stack.root))
        if "vllm.entrypoints.openai.api_server" in process.cmdline()
    }


BAD_REQUESTS: list[tuple[str, bytes, int, str | None]] = [
    ("/chat/completions", b'{"model": "tiny-llama", "messages": [', 400, "invalid_json"),
    ("/chat/completions", b'["model"]', 400, "invalid_type"),
    ("/chat/completions", b'{"messages": []}', 404, "model_required"),
    ("/chat/completions", b'{"model": "no-such-model", "messages": []}', 404, "model_not_found"),
    ("/chat/completions", b'{"model": 7}', 400, "invalid_type"),
    ("/embeddings", b'{"model": "tiny-llama", "input": "x"}', 404, "path_not_served"),
    ("/files", b"{}", 404, None),
    ("/../metrics", b"{}", 404, None),
    ("/completions", json.dumps({"model": MODEL, "prompt": "coal " * 5000}).encode(), 400, None),
    ("/completions", b'{"model": "tiny-llama", "prompt": "' + b"x" * 11_000_000 + b'"}', 413, None),
]


@pytest.mark.parametrize(("path", "body", "status", "code"), BAD_REQUESTS)
def test_bad_requests_get_an_openai_error(
    stack: Stack, key: str, path: str, body: bytes, status: int, code: str | None
) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    answer = httpx.post(stack.base_url + path, content=body, headers=headers, timeout=60)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    assert error["message"]
    if code is not None:
        assert error["code"] == code
    assert "127.0.0.1" not in answer.text
    assert not [name for name in answer.headers if name.startswith(("x-gateway", "x-envoy", "server"))]


@pytest.mark.parametrize("key_used", ["", "nonsense", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhY21lIiwiaXNzIjoic3Rva2VyIn0."])
def test_a_wrong_key_is_refused(stack: Stack, key_used: str) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        OpenAI(base_url=stack.base_url, api_key=key_used or "x", max_retries=0).models.list()
    assert refused.value.code == "invalid_api_key"


def test_a_header_that_pretends_to_be_internal_is_ignored(stack: Stack, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.0)
        port = trap.getsockname()[1]
        answer = httpx.post(
            f"{stack.base_url}/completions",
            json={"model": MODEL, "prompt": "x", "max_tokens": 2},
            headers={
                "authorization": f"Bearer {key}",
                "x-gateway-destination-endpoint": f"127.0.0.1:{port}",
                "x-stoker-tenant": "somebody-else",
            },
            timeout=60,
        )
        assert answer.status_code == 200
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_a_client_that_leaves_is_forgotten_by_the_engine(stack: Stack, key: str) -> None:
    with (
        httpx.Client(timeout=60) as http,
        http.stream(
            "POST",
            f"{stack.base_url}/completions",
            json={"model": MODEL, "prompt": "go on", "max_tokens": 1900, "stream": True},
            headers={"authorization": f"Bearer {key}"},
        ) as answer,
    ):
        assert next(answer.iter_lines())
    until(
        "no engine runs anything",
        lambda: all(row.running == 0 and row.inflight == 0 for row in stack.watcher.view.engines.values()),
    )


def test_an_engine_answers_nobody_but_the_gateway(stack: Stack) -> None:
    for row in stack.watcher.view.engines.values():
        for verify in (False, ssl.create_default_context(cafile=str(stack.credentials / "ca.pem"))):
            with pytest.raises(httpx.TransportError):
                httpx.get(f"https://{row.endpoint}/metrics", verify=verify, timeout=10)
        operator = ssl.create_default_context(cafile=str(stack.credentials / "ca.pem"))
        operator.load_cert_chain(stack.credentials / "cert.pem", stack.credentials / "key.pem")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://{row.endpoint}/v1/models", verify=operator, timeout=10)


def test_a_vllm_that_dies_at_start_says_why(stack: Stack, key: str) -> None:
    stack.place(
        stack.nodes[0], MODELS_DIR / MODEL, model="too-long", args=("--max-model-len=999999", "--enforce-eager")
    )
    engine_id = f"too-long@{stack.nodes[0].name}"

    def died() -> bool:
        row = stack.watcher.view.engines.get(engine_id)
        return row is not None and row.state.value in {"backing_off", "failed"}

    until("the engine has died", died, 120)
    row = stack.watcher.view.engines[engine_id]
    assert "max_model_len" in row.reason
    assert any("max_model_len" in line for line in row.log_tail)
    answer = httpx.post(
        f"{stack.base_url}/completions",
        json={"model": "too-long", "prompt": "x"},
        headers={"authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_capacity"
    assert int(answer.headers["retry-after"]) > 0
    stack.stoker_text("remove", engine_id, "--yes")
    until("it is gone", lambda: engine_id not in stack.watcher.view.engines, 60)
    until("its placement, too", lambda: engine_id not in stack.watcher.view.placements, 10)


def test_every_renewed_certificate_reaches_the_running_engine(stack: Stack, client: OpenAI) -> None:
    node = stack.nodes[0]
    store = IdentityStore(stack.state_dir(node))
    endpoint = next(row.endpoint for row in stack.watcher.view.engines.values() if row.node == node.name)
    host, _, port = endpoint.rpartition(":")

    def served() -> int:
        context = ssl.create_default_context(cafile=store.ca_path)
        context.load_cert_chain(store.scraper_path)
        with (
            socket.create_connection((host, int(port)), 5) as raw,
            context.wrap_socket(raw, server_hostname=host) as tls,
        ):
            der = tls.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    seen = {served()}
    for _ in range(3):  # vLLM notices the first of several renames, and no other: renewals must not be renames
        renewed = asyncio.run(
            renew(
                address=f"127.0.0.1:{stack.grpc_port}",
                node_name=node.name,
                advertised_hosts=["127.0.0.1"],
                store=store,
                clock=SystemClock(),
            )
        )
        serial = x509.load_pem_x509_certificate(renewed.certificate_pem).serial_number
        assert serial not in seen
        seen.add(serial)
        until("the engine serves the new certificate", lambda wanted=serial: served() == wanted, 15)  # type: ignore[misc]
    for _ in range(4):
        client.completions.create(model=MODEL, prompt="still here", max_tokens=5)


def test_a_drained_engine_gets_no_requests_and_comes_back(stack: Stack, client: OpenAI) -> None:
    engine_id = sorted(stack.watcher.view.engines)[0]
    stack.stoker_text("drain", engine_id, "--yes")
    until("it is not routable", lambda: not stack.watcher.view.engines[engine_id].routable, 5)
    for _ in range(4):
        client.completions.create(model=MODEL, prompt="still here", max_tokens=5)
    until("it has stopped", lambda: stack.watcher.view.engines[engine_id].state.value == "stopped", 90)
    stack.stoker_text("resume", engine_id)
    stack.wait_ready(len(stack.nodes))


def test_a_killed_daemon_cuts_no_stream_and_stops_no_engine(stack: Stack, client: OpenAI) -> None:
    engines = engine_processes(stack)
    assert len(engines) == 2
    revoked = stack.stoker("key", "create", "--tenant", "acme")
    OpenAI(base_url=stack.base_url, api_key=revoked["secret"]).models.list()
    stack.stoker_text("key", "revoke", revoked["key_id"], "--yes")
    stream = client.completions.create(
        model=MODEL, prompt="tell all", max_tokens=1500, stream=True, stream_options={"include_usage": True}
    )
    arrived = 0
    for chunk in stream:
        arrived += len(chunk.choices)
        if arrived == 20:
            stack.daemon.kill()
        if chunk.usage is not None and not chunk.choices:
            assert chunk.usage.completion_tokens > 1000
    assert not stack.daemon.alive
    for _ in range(4):
        assert client.completions.create(model=MODEL, prompt="anybody there", max_tokens=5).choices
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="no-such-model", prompt="x")
    with pytest.raises(openai.AuthenticationError):
        OpenAI(base_url=stack.base_url, api_key="wrong", max_retries=0).models.list()

    with pytest.raises(openai.AuthenticationError):
        OpenAI(base_url=stack.base_url, api_key=revoked["secret"], max_retries=0).models.list()

    stack.daemon.start()

    def right() -> bool:
        rows = stack.watcher.view.engines.values()
        return (
            stack.watcher.live and len(rows) == 2 and all(row.routable and row.trust.value == "fresh" for row in rows)
        )

    stack.watcher.live = False
    until("operators see the fleet as it is", right, 30)
    assert engine_processes(stack) == engines
    assert client.completions.create(model=MODEL, prompt="and now", max_tokens=5).choices
