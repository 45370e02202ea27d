"""A real vLLM with hardly any KV cache: what the agent says is cached is cached, and what misses cost is billed.

Needs the vLLM environment (make setup-vllm).
"""

import asyncio
import os
import random
import re
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from controlplane.proto.prefix_text import chunk_hashes
from controlplane.runtime.prefix_index import PrefixIndex, ResidencyUpdate
from node_agent.clock import SystemClock
from node_agent.engines.engine import EngineAccess, EngineTls
from node_agent.engines.plugin_files import install
from node_agent.engines.vllm import VllmSettings, vllm_engine_factory
from node_agent.inside.following import Following, Followings
from node_agent.inside.insides import EngineInsides
from node_agent.inside.notes import PrefixNote
from node_agent.inside.residency import EngineResidency
from node_agent.inside.sockets import InsideSockets, make_socket_dir
from node_agent.session.facts import EngineSpec, EngineState, EngineStatus, NodeEvent
from node_agent.session.records import RequestRecord
from node_agent.supervisor.policy import SupervisorPolicy
from node_agent.supervisor.supervisor import Supervisor
from node_agent.tasks import TaskScope
from node_agent.vllm_plugins import wire
from tests.fakes.throwaway_ca import engine_tls

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(500)]

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 240.0
BLOCK_TOKENS = 32
ENGINE_ARGS = (
    *("--enforce-eager", "--dtype", "float32", "--max-model-len", "640", "--block-size", str(BLOCK_TOKENS)),
    *("--kv-cache-memory-bytes", "16M", "--num-gpu-blocks-override", "24", "--max-num-seqs", "16"),
    *("--max-num-batched-tokens", "640"),
)
MODEL = "tiny-llama"
WORDS = (
    "stoker furnace gauge draught coal fire steam grate heat art feed burn memory weights batch token block prompt gate"
)


class Node:
    """An agent's supervisor with everything that listens inside its engines."""

    def __init__(self, vllm_python: Path, directory: Path, tls: EngineTls) -> None:
        clock = SystemClock()
        self.events: list[NodeEvent] = []
        self.notes: list[PrefixNote] = []
        self.tls = tls
        self._followings = Followings(clock=clock, on_event=self.events.append)
        make_socket_dir(directory / "s")
        insides = EngineInsides(
            directory / "s", clock=clock, on_event=self.events.append, keep=self._keep, follow=self._follow
        )
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        settings = VllmSettings(vllm_python, base_environment=environment, plugins=install(directory / "state"))
        access = EngineAccess("127.0.0.1", "127.0.0.1", 18460, 18480, tls)
        self.supervisor = Supervisor(
            engine_factory=vllm_engine_factory(access, settings),
            access=access,
            state_dir=directory / "state",
            clock=clock,
            on_event=self.events.append,
            policy=SupervisorPolicy(start_seconds_max=START_SECONDS_MAX),
            insides=insides,
        )

    @property
    def residency(self) -> EngineResidency:
        [found] = self._followings.residencies()
        assert isinstance(found, EngineResidency)
        return found

    def status(self) -> EngineStatus:
        [status] = self.supervisor.statuses()
        assert status.state in (EngineState.STARTING, EngineState.READY), (status.reason, status.log_tail)
        return status

    async def ready(self) -> EngineStatus:
        for _ in range(int(START_SECONDS_MAX * 5)):
            if self.status().state is EngineState.READY:
                return self.status()
            await asyncio.sleep(0.2)
        raise AssertionError(f"not ready within {START_SECONDS_MAX:.0f} s: {self.status()}")

    async def settled(self, notes: int) -> None:
        """So many notes have come, and no further event."""
        before = None
        for _ in range(200):
            now = (len(self.notes) >= notes, self.residency.summary())
            if now[0] and now == before:
                return
            before = now
            await asyncio.sleep(0.25)
        raise AssertionError(f"{len(self.notes)} notes of {notes}, {self.residency.summary()}")

    async def told_of(self, notes: int) -> PrefixNote:
        """So many notes have come, and all that the last one names is resident: its request has just been answered."""
        for _ in range(400):
            if len(self.notes) >= notes:
                note = self.notes[notes - 1]
                if {chunk for chunk, _, _ in note.chunks} <= set(self.residency.whole().added):
                    return note
            await asyncio.sleep(0.05)
        raise AssertionError(f"{len(self.notes)} notes of {notes}, {self.residency.summary()}")

    async def _keep(self, _source: str, records: Sequence[tuple[int, RequestRecord]]) -> int:
        return records[-1][0]

    def _follow(self, engine_id: str, instance_id: str, sockets: InsideSockets) -> Following:
        following = self._followings.follow(engine_id, instance_id, sockets)
        noted = following.note

        def note(note: PrefixNote) -> None:
            self.notes.append(note)
            noted(note)

        following.note = note  # type: ignore[method-assign]
        return following


class Clients:
    """Those who send requests, as the gateway would pass them on."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def ask(self, prompt: str, tenant: str, *, max_tokens: int = 1) -> tuple[int, int]:
        """Tokens of the prompt, and how many of them were cached."""
        body = {"model": MODEL, "prompt": prompt, "max_tokens": max_tokens, "ignore_eos": True}
        answer = await self._client.post(f"{self._url}/v1/completions", json=body, headers={wire.TENANT_HEADER: tenant})
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        return usage["prompt_tokens"], (usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0

    async def computed_tokens(self) -> float:
        """vLLM's own count of prompt tokens that were computed, not found."""
        text = (await self._client.get(f"{self._url}/metrics")).text
        line = r'^vllm:prompt_tokens_by_source_total\{[^}]*source="local_compute"[^}]*\} (\S+)'
        return sum(float(value) for value in re.findall(line, text, flags=re.MULTILINE))


@pytest.fixture(scope="module")
def model(vllm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / MODEL
    subprocess.run([vllm_python, ROOT / "demo/tiny_model.py", out], check=True, capture_output=True, timeout=120)
    return out


@asynccontextmanager
async def one_engine(vllm_python: Path, model: Path) -> AsyncIterator[tuple[Node, Clients]]:
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as folder:  # short: it holds sockets
        directory = Path(folder)
        tls = engine_tls(directory / "pki", hosts=("127.0.0.1",))
        node = Node(vllm_python, directory, tls)
        async with TaskScope("test") as tasks:
            tasks.spawn(node.supervisor.run(), name="supervisor")
            try:
                await node.supervisor.start(EngineSpec("e1", 1, MODEL, str(model), ENGINE_ARGS, ("cpu:0",)))
                ready = await node.ready()
                context = ssl.create_default_context(cafile=tls.ca_path)
                context.load_cert_chain(tls.client_cert_path, tls.client_key_path)
                async with httpx.AsyncClient(verify=context, trust_env=False, timeout=120) as client:
                    yield node, Clients(client, f"https://{ready.endpoint}")
            finally:
                await node.supervisor.stop("e1", drain_seconds_max=0, forget=False)
        await node.supervisor.shutdown(drain_seconds_max=0, keep_engines=False)


def text(draw: random.Random, length: int) -> str:
    words = ""
    while len(words) < length:
        words += draw.choice(WORDS.split()) + " "
    return words[:length]


async def test_what_is_said_to_be_cached_is_cached_and_what_misses_cost_is_billed(
    vllm_python: Path, model: Path
) -> None:
    async with one_engine(vllm_python, model) as (node, clients):
        await predicts_hits(node, clients)
        await bills_what_is_computed_again(node, clients)
        await tells_of_pressure(node, clients)
        assert [event.kind for event in node.events] == []


async def predicts_hits(node: Node, clients: Clients) -> None:
    """Hit or miss of each chunk of the next request, as the router would read it from the control plane's index."""
    draw = random.Random(11)  # noqa: S311 - the same requests in every run
    families = [(tenant, text(draw, 1700)) for tenant in ("acme", "acme", "globex", "globex")]
    index, right, hits, misses = PrefixIndex(), 0, 0, 0
    for number in range(40):
        tenant, shared = families[draw.choice((0, 0, 1, 2, 3))]
        prompt = shared[: draw.choice((700, 1200, 1700))] + text(draw, draw.choice((0, 300, 600)))
        index.apply(held_by(node.residency))
        hashes = chunk_hashes(prompt.encode(), tenant=tenant, model=MODEL)
        predicted = index.longest_match("e1", hashes)
        _, cached = await clients.ask(prompt, tenant)
        note = await node.told_of(number + 1)
        assert note.tenant == tenant
        assert [chunk for chunk, _, _ in note.chunks] == hashes[: len(note.chunks)]
        for at, (_, _, tokens) in enumerate(note.chunks):
            # All full blocks of the text up to its end: what follows it in its last block may be another text.
            hit = tokens // BLOCK_TOKENS * BLOCK_TOKENS <= cached
            hits, misses = hits + hit, misses + (not hit)
            right += hit == (at < predicted)
    assert min(hits, misses) >= 20, (hits, misses)
    assert right >= 0.95 * (hits + misses), (right, hits, misses)


def held_by(residency: EngineResidency) -> ResidencyUpdate:
    whole = residency.whole()
    return ResidencyUpdate(
        "e1", "i1", 0, whole.version, True, whole.added, (), checksum=whole.checksum, chunks=whole.chunks
    )


async def bills_what_is_computed_again(node: Node, clients: Clients) -> None:
    """A prompt, others until nothing of it is left, and it again: all its full blocks are computed twice."""
    draw = random.Random(12)  # noqa: S311 - the same requests in every run
    prompt = text(draw, 1000)
    notes = len(node.notes)
    await clients.ask(prompt, "initech")
    for _ in range(8):
        await clients.ask(text(draw, 1000), "hooli")
    await node.told_of(notes + 9)
    before, computed_before = billed(node, "initech"), await clients.computed_tokens()
    assert before == 0
    tokens, cached = await clients.ask(prompt, "initech")
    await node.told_of(notes + 10)
    again = tokens // BLOCK_TOKENS * BLOCK_TOKENS - cached
    assert cached == 0
    assert billed(node, "initech") == again > 0
    assert await clients.computed_tokens() - computed_before == tokens - cached >= again
    [bill] = [bill for bill in node.status().recompute if bill.tenant == "initech"]
    assert bill.flops is not None
    assert bill.seconds is not None
    assert bill.flops > 0
    assert bill.seconds > 0


def billed(node: Node, tenant: str) -> int:
    return sum(bill.tokens for bill in node.residency.bills() if bill.tenant == tenant)


async def tells_of_pressure(node: Node, clients: Clients) -> None:
    """More requests than fit: some wait, some are taken off and computed again."""
    # So many and so long that the readings, one a second, cannot all miss those that wait.
    requests_count = 16
    draw = random.Random(13)  # noqa: S311 - the same requests in every run
    before = node.status()
    notes = len(node.notes)
    recomputed_before = sum(bill.tokens for bill in before.recompute)
    waiting: list[int] = []

    async def look() -> None:
        while True:
            waiting.append(node.status().gauges.waiting or 0)
            await asyncio.sleep(0.1)

    async with TaskScope("look") as tasks:
        tasks.spawn(look(), name="look")
        await asyncio.gather(*(clients.ask(text(draw, 450), "umbrella", max_tokens=300) for _ in range(requests_count)))
    await node.settled(notes + requests_count)
    for _ in range(50):
        after = node.status()
        told = after.inside.steps.preemptions if after.inside and after.inside.steps else 0
        if (before.counters.preemptions or 0) < (after.counters.preemptions or 0) == told:
            break
        await asyncio.sleep(0.2)
    assert after.inside is not None
    assert after.inside.steps is not None
    assert max(waiting) > 0
    assert after.inside.steps.waiting > 0
    assert (after.counters.preemptions or 0) > (before.counters.preemptions or 0)
    assert after.inside.steps.preemptions == after.counters.preemptions
    # vLLM's token counters leave out what is computed again after a preemption; its FLOPs have it.
    assert sum(bill.tokens for bill in after.recompute) > recomputed_before
    assert after.counters.flops is not None
    assert before.counters.flops is not None
    assert 0 < billed_flops(after) - billed_flops(before) <= after.counters.flops - before.counters.flops


def billed_flops(status: EngineStatus) -> float:
    return sum(bill.flops or 0.0 for bill in status.recompute)
