"""`make bench-agent`: what the agent costs beside a busy engine, and what its plug-ins cost the engine.

Real parts throughout: two nodes with a real vLLM engine each, of which one runs without plug-ins. Throughput is measured
straight at the engines, over the mutual TLS that the gateway speaks, with one engine loaded at a time: short rounds in
the order with, without, without, with (ABBA), so that what changes slowly on the machine meets both alike. A round counts
the output tokens within its window; the time in which its streams begin and end is left out.

`throughput_with_plugins_ratio`, the figure that is judged, is the median over all pairs of neighbouring rounds of the
rate with plug-ins divided by the rate without. `ratio_of_medians` and the quartiles of the pairs are told beside it: where
they lie further apart than the target is from 1, the machine was too busy with other things to tell.

The agent's cost is its process's own CPU time and memory while its engine serves 20 requests a second; `load_average` is
the machine's during these windows, the engine's own two busy processes included. Afterwards, with nothing else running,
5,000 simulated nodes (`bench.simulated_nodes`).
"""

import asyncio
import json
import os
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

PAIRS = 24
ROUND_SECONDS = 4.0
# The streams begin in it; and the engine of the round before polls its queues for a second after its last request.
BEGIN_SECONDS = 1.5
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
    """Output tokens a second of both, pair by pair."""
    for engine in (full, plain):
        await _throughput(engine)
    pairs = []
    for number in range(PAIRS):
        order = [("with_plugins", full), ("without_plugins", plain)]
        pair = {name: await _throughput(engine) for name, engine in order[:: -1 if number % 2 else 1]}
        pairs.append(pair)
        print(
            f"pair {number + 1}: {pair['with_plugins']:.0f} tokens/s with plug-ins, "
            f"{pair['without_plugins']:.0f} without",
            flush=True,
        )
    return pairs


async def _throughput(engine: Engine) -> float:
    draw = random.Random(1)  # noqa: S311 - the same prompts for both
    window_begins = time.monotonic() + BEGIN_SECONDS
    window_ends = window_begins + ROUND_SECONDS
    tokens = 0.0

    async def stream(client: httpx.AsyncClient) -> None:
        nonlocal tokens
        while (began := time.monotonic()) < window_ends:
            answer = await _complete(client, _prompt(draw), OUTPUT_TOKENS)
            ended = time.monotonic()
            within = max(0.0, min(ended, window_ends) - max(began, window_begins))
            tokens += answer["usage"]["completion_tokens"] * within / (ended - began)

    async with engine.client() as client:
        await asyncio.gather(*(stream(client) for _ in range(ROUND_STREAMS)))
    return tokens / ROUND_SECONDS


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
                "load_average": os.getloadavg()[0],
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
    lower, median, upper = statistics.quantiles(ratios, n=4)
    rates = {
        name: statistics.median(row[name] for row in raw["throughput"]) for name in ("with_plugins", "without_plugins")
    }
    figures: dict[str, Any] = {
        name: round(statistics.median(row[name] for row in raw["agent"]), 2) for name in raw["agent"][0]
    }
    figures["throughput_with_plugins_ratio"] = round(median, 4)
    figures["ratio_quartiles"] = [round(lower, 4), round(upper, 4)]
    figures["ratio_of_medians"] = round(rates["with_plugins"] / rates["without_plugins"], 4)
    figures.update({f"{name}_tokens_per_second": round(rate, 1) for name, rate in rates.items()})
    figures.update({f"simulated_{name}": round(value, 3) for name, value in raw["simulated"].items()})
    short = [
        name
        for name, target in TARGETS.items()
        if (figures[name] < target if name in AT_LEAST else figures[name] > target)
    ]
    return {"figures": figures, "peers": {}, "targets": TARGETS, "short": short, "raw": str(RAW)}


if __name__ == "__main__":
    main()
