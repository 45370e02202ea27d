"""The supervisor over a real vLLM: started, guarded, counted, stopped. Needs the vLLM environment (make setup-vllm)."""

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from node_agent.clock import SystemClock
from node_agent.engines.engine import EngineAccess, EngineTls
from node_agent.engines.vllm import VllmSettings, vllm_engine_factory
from node_agent.session.facts import EngineCounters, EngineSpec, EngineState, EngineStatus, NodeEvent
from node_agent.supervisor.policy import SupervisorPolicy
from node_agent.supervisor.process import session_members
from node_agent.supervisor.supervisor import Supervisor
from node_agent.tasks import TaskScope
from tests.fakes.throwaway_ca import ThrowawayCa, engine_tls

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 240.0
ENGINE_ARGS = (
    *("--enforce-eager", "--dtype", "float32", "--max-model-len", "2048", "--block-size", "32"),
    *("--kv-cache-memory-bytes", "16M", "--max-num-seqs", "16", "--max-num-batched-tokens", "2048"),
)


@pytest.fixture(scope="module")
def model_dir(vllm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "tiny-llama"
    subprocess.run([vllm_python, ROOT / "demo/tiny_model.py", out], check=True, capture_output=True, timeout=120)
    return out


class Node:
    """One agent's supervisor over the real clock, and the loop that ticks it; `restart_agent` puts another in place."""

    def __init__(self, vllm_python: Path, directory: Path, tls: EngineTls) -> None:
        self._state_dir = directory / "state"
        self._access = EngineAccess("127.0.0.1", "127.0.0.1", 18400, 18450, tls)
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self._settings = VllmSettings(vllm_python, base_environment=environment)
        self.events: list[NodeEvent] = []
        self.stages: list[str] = []
        self._tasks = TaskScope("test")
        self.supervisor = self._new_agent()

    def _new_agent(self) -> Supervisor:
        supervisor = Supervisor(
            engine_factory=vllm_engine_factory(self._access, self._settings),
            access=self._access,
            state_dir=self._state_dir,
            clock=SystemClock(),
            on_event=self.events.append,
            policy=SupervisorPolicy(start_seconds_max=START_SECONDS_MAX),
        )
        self._tasks.spawn(supervisor.run(), name="supervisor")
        return supervisor

    async def restart_agent(self) -> None:
        await self._tasks.close()
        await self.supervisor.shutdown(drain_seconds_max=0, keep_engines=True)
        self._tasks = TaskScope("test")
        self.supervisor = self._new_agent()
        await self.supervisor.readopt()

    def status(self) -> EngineStatus:
        latest = self.supervisor.statuses()[0]
        if latest.stage and latest.stage not in self.stages:
            self.stages.append(latest.stage)
        assert latest.state in (EngineState.STARTING, EngineState.READY), (latest.reason, latest.log_tail)
        return latest

    async def until(self, holds: Callable[[EngineStatus], object], *, seconds_max: float = 15) -> EngineStatus:
        for _ in range(int(seconds_max * 10)):
            if holds(self.status()):
                return self.status()
            await asyncio.sleep(0.1)
        raise AssertionError(f"did not come to pass within {seconds_max} s: {self.status()}")

    async def close(self) -> None:
        await self._tasks.close()
        await self.supervisor.shutdown(drain_seconds_max=0, keep_engines=False)


@pytest.fixture
def tls(tmp_path: Path) -> EngineTls:
    return engine_tls(tmp_path / "pki", hosts=("127.0.0.1",))


@pytest.fixture
async def node(vllm_python: Path, tmp_path: Path, tls: EngineTls) -> AsyncIterator[Node]:
    node = Node(vllm_python, tmp_path, tls)
    yield node
    await node.close()


def client_with(tls: EngineTls, certificate: tuple[Path, Path] | None) -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=tls.ca_path)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return httpx.AsyncClient(verify=context, trust_env=False, timeout=30)


async def test_real_vllm_is_started_guarded_counted_found_again_and_stopped(
    node: Node, model_dir: Path, tmp_path: Path, tls: EngineTls
) -> None:
    await node.supervisor.start(EngineSpec("e1", 1, "tiny-llama", str(model_dir), ENGINE_ARGS, ("cpu:0",)))
    ready = await node.until(lambda status: status.state is EngineState.READY, seconds_max=START_SECONDS_MAX)
    # Some stages pass faster than anybody looks; these do not.
    assert {"launching", "starting the engine core"} <= set(node.stages)
    assert ready.engine_version
    assert ready.dtype == "float32"
    assert ready.context_tokens_max == 2048
    assert ready.served_paths == ("/v1/chat/completions", "/v1/completions")
    assert (ready.gauges.kv_capacity_tokens, ready.gauges.kv_used_tokens) == (16_384, 0)
    assert_nothing_counted(ready.counters)

    url = f"https://{ready.endpoint}"
    stranger = ThrowawayCa(tmp_path / "pki", "stranger").sign("gateway")
    for certificate in (None, stranger):
        async with client_with(tls, certificate) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(f"{url}/health")

    body = {"model": "tiny-llama", "prompt": "The ratio of work to bytes", "max_tokens": 40}
    async with client_with(tls, (tls.client_cert_path, tls.client_key_path)) as client:
        usage = (await client.post(f"{url}/v1/completions", json=body)).json()["usage"]
    counted = await node.until(lambda status: status.counters.requests_finished == 1)
    assert_counted_once(counted.counters, usage["prompt_tokens"], usage["completion_tokens"])

    await node.restart_agent()
    again = await node.until(lambda status: status.measured_at is not None)
    assert (again.instance_id, again.pid, again.state) == (ready.instance_id, ready.pid, EngineState.READY)
    assert_counted_once(again.counters, usage["prompt_tokens"], usage["completion_tokens"])

    await node.supervisor.stop("e1", drain_seconds_max=30, forget=False)
    assert node.supervisor.statuses()[0].state is EngineState.STOPPED
    assert session_members(ready.pid) == ()
    assert node.events == []


def assert_counted_once(counters: EngineCounters, prompt_tokens: int, generation_tokens: int) -> None:
    assert (counters.prompt_tokens, counters.generation_tokens) == (prompt_tokens, generation_tokens)
    assert (counters.steps, counters.step_tokens) == (generation_tokens, prompt_tokens + generation_tokens)
    assert (counters.prefix_query_tokens, counters.preemptions, counters.requests_finished) == (prompt_tokens, 0, 1)
    assert counters.flops is not None
    assert counters.bytes is not None
    assert min(counters.flops, counters.bytes) > 0
    for histogram, count in ((counters.ttft_seconds, 1), (counters.inter_token_seconds, generation_tokens - 1)):
        assert histogram is not None
        assert sum(histogram.counts) == count


def assert_nothing_counted(counters: EngineCounters) -> None:
    assert (counters.prompt_tokens, counters.generation_tokens, counters.steps, counters.step_tokens) == (0, 0, 0, 0)
    assert (counters.prefix_query_tokens, counters.prefix_hit_tokens, counters.requests_finished) == (0, 0, 0)
    assert (counters.flops, counters.bytes) == (0, 0)
    for histogram in (counters.ttft_seconds, counters.inter_token_seconds):
        assert histogram is not None
        assert sum(histogram.counts) == 0
        assert histogram.sum == 0
