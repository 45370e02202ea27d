"""`make bench-agent`: what the agent costs beside a busy engine, and what its plug-ins cost the engine.

Real parts throughout: two nodes with a real vLLM engine each, of which one runs without plug-ins. Throughput is measured
straight at the engines, over the mutual TLS that the gateway speaks, in interleaved rounds with one engine loaded at a
time; the ratio is that of neighbouring rounds. The agent's cost is its process's own CPU time and memory while its
engine serves 20 requests a second. Afterwards, with nothing else running, 5,000 simulated nodes (`bench.simulated_nodes`).
"""

import asyncio
import json
import random
import ssl
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench import simulated_nodes
from demo.stack import MODEL, NODES, DemoNode, Stack, make_model, running

ROUNDS = 8
ROUND_SECONDS = 12.0
ROUND_STREAMS = 8
OUTPUT_TOKENS = 64
WINDOWS = 5
WINDOW_SECONDS = 12.0
REQUESTS_PER_SECOND = 20
RATE_OUTPUT_TOKENS = 8
TARGETS = {
    "agent_core_percent": 2.0,
    "agent_rss_mib": 120.0,
    "throughput_with_plugins_ratio": 0.98,
    **simulated_nodes.TARGETS,
}
AT_LEAST = frozenset({"throughput_with_plugins_ratio", *simulated_nodes.TARGETS})
RAW = Path("bench/raw/agent.json")


@dataclass(frozen=True, slots=True)
class Engine:
    url: str
    tls: ssl.SSLContext

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, verify=self.tls, trust_env=False, timeout=60.0)


def main() -> None:
    """Print one line of JSON at the end; raw readings go to bench/raw."""
    plain, full = NODES
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as directory:
        settings = {plain.name: {"STOKER_AGENT_ENGINES__PLUGINS": "off"}}
        stack = Stack(Path(directory), sample_seconds=10.0, agent_settings=settings)  # sampled as in production
        with running(stack):
            engines = _start(stack)
            stack.watcher.stop()  # a console is not part of a node
            agent = psutil.Process(stack.agents[full.name].pid)
            raw: dict[str, Any] = {
                "throughput": asyncio.run(_interleaved(engines[full.name], engines[plain.name])),
                "agent": asyncio.run(_agent_at_rate(engines[full.name], agent)),
            }
    with tempfile.TemporaryDirectory(prefix="stoker-") as directory:
        raw["simulated"] = simulated_nodes.measure(
            simulated_nodes.NODES, simulated_nodes.WINDOW_SECONDS, Path(directory)
        )
    RAW.parent.mkdir(parents=True, exist_ok=True)
    RAW.write_text(json.dumps(raw, indent=1))
    print(json.dumps(_summary(raw)))


def _start(stack: Stack) -> dict[str, Engine]:
    source = make_model()
    stack.init()
    stack.start_daemon()
    for node in stack.nodes:
        stack.join(node)
        stack.start_agent(node)
    stack.wait_connected()
    for node in stack.nodes:
        stack.place(node, source)
    stack.wait_ready(len(stack.nodes))
    endpoints = {row.node: row.endpoint for row in stack.watcher.view.engines.values()}
    return {node.name: Engine(f"https://{endpoints[node.name]}", _tls(stack, node)) for node in stack.nodes}


def _tls(stack: Stack, node: DemoNode) -> ssl.SSLContext:
    identity = stack.state_dir(node) / "identity"
    context = ssl.create_default_context(cafile=identity / "ca.pem")
    context.load_cert_chain(identity / "scraper.pem")
    return context


async def _interleaved(full: Engine, plain: Engine) -> list[dict[str, float]]:
    """Output tokens a second of both, round by round; who goes first changes from round to round."""
    for engine in (full, plain):
        await _throughput(engine, 3.0)
    rounds = []
    for number in range(ROUNDS):
        order = [("with_plugins", full), ("without_plugins", plain)]
        row = {
            name: await _throughput(engine, ROUND_SECONDS) for name, engine in (order if number % 2 else order[::-1])
        }
        rounds.append(row)
        print(
            f"round {number + 1}: {row['with_plugins']:.0f} tokens/s with plug-ins, {row['without_plugins']:.0f} without",
            flush=True,
        )
    return rounds


async def _throughput(engine: Engine, seconds: float) -> float:
    tokens = 0
    draw = random.Random(1)  # noqa: S311 - the same prompts for both
    began = time.monotonic()

    async def stream(client: httpx.AsyncClient) -> None:
        nonlocal tokens
        while time.monotonic() - began < seconds:
            answer = await _complete(client, _prompt(draw), OUTPUT_TOKENS)
            tokens += answer["usage"]["completion_tokens"]

    async with engine.client() as client:
        await asyncio.gather(*(stream(client) for _ in range(ROUND_STREAMS)))
    return tokens / (time.monotonic() - began)


async def _agent_at_rate(engine: Engine, agent: psutil.Process) -> list[dict[str, float]]:
    """The agent's CPU and memory in windows during which its engine gets requests at a steady rate."""
    draw = random.Random(2)  # noqa: S311 - prompts, no secrets
    readings = []
    async with engine.client() as client:
        for _ in range(WINDOWS):
            began, before = time.monotonic(), _cpu_seconds(agent)
            async with asyncio.TaskGroup() as group:
                for number in range(round(WINDOW_SECONDS * REQUESTS_PER_SECOND)):
                    await asyncio.sleep(max(0.0, began + number / REQUESTS_PER_SECOND - time.monotonic()))
                    group.create_task(_complete(client, _prompt(draw), RATE_OUTPUT_TOKENS))
            wall = time.monotonic() - began
            reading = {
                "requests_per_second": WINDOW_SECONDS * REQUESTS_PER_SECOND / wall,
                "agent_core_percent": 100 * (_cpu_seconds(agent) - before) / wall,
                "agent_rss_mib": agent.memory_info().rss / 2**20,
            }
            readings.append(reading)
            print(", ".join(f"{name} {value:.2f}" for name, value in reading.items()), flush=True)
    return readings


async def _complete(client: httpx.AsyncClient, prompt: str, output_tokens: int) -> Any:
    body = {"model": MODEL, "prompt": prompt, "max_tokens": output_tokens, "ignore_eos": True}
    answer = await client.post("/v1/completions", json=body, headers={"x-stoker-tenant": "bench"})
    answer.raise_for_status()
    return answer.json()


def _prompt(draw: random.Random) -> str:
    """A beginning that several share, and an end of its own: some 250 tokens."""
    shared = f"Shift {draw.randrange(20)} of the furnaces: " + "coal, water and steam, in that order. " * 8
    return shared + " ".join(str(draw.randrange(10_000)) for _ in range(30))


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _summary(raw: dict[str, Any]) -> dict[str, Any]:
    ratios = [row["with_plugins"] / row["without_plugins"] for row in raw["throughput"]]
    figures = {name: round(statistics.median(row[name] for row in raw["agent"]), 2) for name in raw["agent"][0]}
    figures["throughput_with_plugins_ratio"] = round(statistics.median(ratios), 4)
    for name in ("with_plugins", "without_plugins"):
        figures[f"{name}_tokens_per_second"] = round(statistics.median(row[name] for row in raw["throughput"]), 1)
    figures.update({f"simulated_{name}": round(value, 3) for name, value in raw["simulated"].items()})
    short = [
        name
        for name, target in TARGETS.items()
        if (figures[name] < target if name in AT_LEAST else figures[name] > target)
    ]
    return {"figures": figures, "peers": {}, "targets": TARGETS, "short": short, "raw": str(RAW)}


if __name__ == "__main__":
    main()
