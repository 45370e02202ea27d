"""The plug-ins in a real vLLM, started by the supervisor. Needs the vLLM environment (make setup-vllm)."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from node_agent.clock import SystemClock
from node_agent.engines import plugin_files
from node_agent.engines.engine import EngineAccess
from node_agent.engines.vllm import VllmSettings, vllm_engine_factory
from node_agent.inside import sockets
from node_agent.inside.following import Followings
from node_agent.inside.insides import EngineInsides
from node_agent.session.facts import EngineSpec, EngineState, EngineStatus, NodeEvent
from node_agent.session.inside import InsideState
from node_agent.session.records import RequestOutcome, RequestRecord
from node_agent.supervisor.policy import SupervisorPolicy
from node_agent.supervisor.supervisor import Supervisor
from node_agent.tasks import TaskScope

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 240.0
ENGINE_ARGS = (
    *("--enforce-eager", "--dtype", "float32", "--max-model-len", "2048", "--block-size", "32"),
    *("--kv-cache-memory-bytes", "16M", "--max-num-seqs", "16", "--max-num-batched-tokens", "2048"),
)
TEXT = "The ratio of work to bytes is called the arithmetic intensity. " * 8
CHAT: dict[str, Any] = {"model": "tiny-llama", "max_tokens": 20, "messages": [{"role": "user", "content": TEXT}]}


class Node:
    """An agent's supervisor with what listens inside its engines; `restart_agent` puts another in place."""

    def __init__(self, python: Path, directory: Path) -> None:
        self._access = EngineAccess("127.0.0.1", "127.0.0.1", 18460, 18499, None)
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self._settings = VllmSettings(
            python, base_environment=environment, plugins=plugin_files.install(directory / "state")
        )
        self._state_dir = directory / "state"
        self._socket_dir = sockets.default_socket_dir(self._state_dir)
        sockets.make_socket_dir(self._socket_dir)
        self.events: list[NodeEvent] = []
        self.records: dict[tuple[str, int], RequestRecord] = {}
        self._begin_agent()

    def _begin_agent(self) -> None:
        clock = SystemClock()
        follow = Followings(clock=clock, on_event=self.events.append).follow
        self._tasks = TaskScope("test")
        self.supervisor = Supervisor(
            engine_factory=vllm_engine_factory(self._access, self._settings),
            access=self._access,
            state_dir=self._state_dir,
            clock=clock,
            on_event=self.events.append,
            policy=SupervisorPolicy(start_seconds_max=START_SECONDS_MAX),
            insides=EngineInsides(
                self._socket_dir, clock=clock, on_event=self.events.append, keep=self._keep, follow=follow
            ),
        )
        self._tasks.spawn(self.supervisor.run(), name="supervisor")

    async def _keep(self, key: str, records: Sequence[tuple[int, RequestRecord]]) -> int:
        for number, record in records:
            assert self.records.setdefault((key, number), record) == record
        return max(number for number, _ in records)

    async def end_agent(self) -> None:
        await self._tasks.close()
        await self.supervisor.shutdown(drain_seconds_max=0, keep_engines=True)

    async def next_agent(self) -> None:
        self._begin_agent()
        await self.supervisor.readopt()

    def status(self) -> EngineStatus:
        return self.supervisor.statuses()[0]

    def active(self) -> bool:
        """Whether the plug-in speaks, and has told of all that was computed."""
        status = self.status()
        return (
            status.inside is not None
            and status.inside.state is InsideState.ACTIVE
            and status.shape is not None
            and status.inside.steps is not None
        )

    def record(self, request_id: str) -> RequestRecord:
        (found,) = [record for record in self.records.values() if record.request_id == request_id]
        return found

    async def until(self, holds: Callable[[], object], *, seconds_max: float = 20) -> None:
        for _ in range(int(seconds_max * 10)):
            if holds():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"did not come to pass within {seconds_max} s: {self.status()}")

    async def close(self) -> None:
        await self._tasks.close()
        await self.supervisor.shutdown(drain_seconds_max=0, keep_engines=False)


@pytest.fixture
def directory(vllm_python: Path) -> Iterator[Path]:
    """With the model in it."""
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as folder:  # short: it holds sockets
        command = [vllm_python, ROOT / "demo/tiny_model.py", Path(folder) / "tiny-llama"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        yield Path(folder)


@pytest.fixture
async def node(vllm_python: Path, directory: Path) -> AsyncIterator[Node]:
    node = Node(vllm_python, directory)
    source = str(directory / "tiny-llama")
    await node.supervisor.start(EngineSpec("e1", 1, "tiny-llama", source, ENGINE_ARGS, ("cpu:0",)))
    yield node
    await node.close()


async def post(client: httpx.AsyncClient, body: Any, tenant: str, request_id: str) -> httpx.Response:
    headers = {"x-stoker-tenant": tenant, "x-request-id": request_id, "content-type": "application/json"}
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    return await client.post("/v1/chat/completions", headers=headers, **content)


async def test_tenants_are_kept_apart_and_every_request_is_told_once(node: Node) -> None:
    await node.until(lambda: node.status().state is EngineState.READY, seconds_max=START_SECONDS_MAX)
    async with httpx.AsyncClient(base_url=f"http://{node.status().endpoint}", trust_env=False, timeout=60) as client:
        usages = {}
        for request_id, tenant in (("a1", "acme"), ("a2", "acme"), ("b1", "beta")):
            usages[request_id] = (await post(client, CHAT, tenant, request_id)).json()["usage"]
        cached = {request_id: usage["prompt_tokens_details"]["cached_tokens"] for request_id, usage in usages.items()}
        assert (cached["a1"], cached["b1"]) == (0, 0)
        assert cached["a2"] > usages["a2"]["prompt_tokens"] / 2

        body = b'{"model": "tiny-llama", "messages": ['
        refused = await post(client, body, "acme", "malformed")
        assert (refused.status_code, "json_invalid" in refused.text) == (400, True)
        assert (await post(client, {**CHAT, "cache_salt": 5}, "acme", "bad-salt")).status_code == 400
        own = await post(client, {**CHAT, "cache_salt": "mine"}, "acme", "own-salt")
        assert own.json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 0

        streamed = await post(
            client, {**CHAT, "stream": True, "stream_options": {"include_usage": True}}, "acme", "stream"
        )
        assert streamed.text.endswith("data: [DONE]\n\n")
        await node.until(lambda: len(node.records) == 7)

        for request_id, usage in usages.items():
            record = node.record(request_id)
            counted = (record.prompt_tokens, record.cached_tokens, record.output_tokens)
            assert counted == (usage["prompt_tokens"], cached[request_id], usage["completion_tokens"])
            assert record.outcome is RequestOutcome.COMPLETED
            for seconds in (record.queue_seconds, record.ttft_seconds, record.inter_token_seconds_mean):
                assert seconds is not None
                assert 0 <= seconds < 30
        assert node.record("malformed").outcome is RequestOutcome.REFUSED
        assert node.record("stream").output_tokens == 20
        # The prompt fills one chunk, which is another one for each tenant.
        await node.until(lambda: (found := node.status().residency) is not None and found.chunks == 2)
        residency = node.status().residency
        assert residency is not None
        assert residency.complete

        # What is told while no agent listens comes to the next one.
        await node.end_agent()
        for number in range(5):
            await post(client, CHAT, "acme", f"alone-{number}")
        await node.next_agent()
        await node.until(lambda: len(node.records) == 12)
        assert {f"alone-{number}" for number in range(5)} <= {record.request_id for record in node.records.values()}

        await node.until(node.active)
        status = node.status()
        assert status.shape is not None
        assert (status.shape.layers, status.shape.kv_block_tokens, status.shape.kv_blocks) == (2, 32, 512)
        assert status.inside is not None
        assert status.inside.steps is not None
        # The canary's steps are the engine's, too.
        outputs = sum(record.output_tokens or 0 for record in node.records.values())
        assert outputs < status.inside.steps.decode_tokens < outputs + 10
        assert status.inside.steps.flops > 0
        assert status.inside.records_dropped == 0
        assert node.events == []
