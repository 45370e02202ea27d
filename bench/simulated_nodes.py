"""`make bench-simulation`: how many simulated nodes one process reports for on one core, every second.

The simulator is the real `stoker-agent simulate`, held on one core; it speaks over TLS to a control plane that only counts,
a process of its own. The reports are whole: every node has an engine that serves traffic, and its figures move.
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil

from controlplane.proto.stoker.v1 import agent_pb2
from tests.fakes.authority import FakeAuthority
from tests.fakes.control_plane import FakeControlPlane

NODES = 5_000
WINDOW_SECONDS = 30.0
CONNECT_SECONDS_MAX = 180.0
RAW = Path("bench/raw/simulation.json")
TARGETS = {"simulated_reports_per_node_second": 0.99}  # of 5,000 nodes, one process held on one core
SCENARIO = """
[[nodes]]
count = 100
provider = "gcp"
region = "us-east1"
model = "llama-3.1-8b"

[[traffic]]
model = "llama-3.1-8b"
requests_per_second = {rate}
prompt = {{ mean_tokens = 1000 }}
output = {{ mean_tokens = 1500, spread = 0.5 }}
"""
REQUESTS_PER_ENGINE_SECOND = 0.05  # with a mean of 1,500 tokens out, something runs on most engines at most times


class CountingControlPlane(FakeControlPlane):
    """Welcomes everybody, and counts."""

    reports_count = 0
    tokens: dict[str, int]

    async def _listen(
        self, requests: AsyncIterator[agent_pb2.AgentMessage], outbox: "asyncio.Queue[agent_pb2.ControlMessage]"
    ) -> None:
        name = ""
        async for message in requests:
            body = message.WhichOneof("body")
            if body == "hello":
                name = message.hello.node_name
                outbox.put_nowait(agent_pb2.ControlMessage(welcome=self.welcome))
                self._sessions.append(outbox)
            elif body == "report":
                self.reports_count += 1
                if message.report.engines:
                    self.tokens[name] = message.report.engines[0].counters.generation_tokens_total


async def _count() -> None:
    """The other process: tells where it listens, then every second what it has counted."""
    authority = FakeAuthority()
    plane = CountingControlPlane(authority)
    plane.tokens = {}
    plane.welcome.report_interval_seconds = 1.0
    await plane.start()
    _say({"address": plane.address, "enrolment": plane.enrolment_address, "token": authority.join_token()})
    while True:
        await asyncio.sleep(1.0)
        tokens = sum(plane.tokens.values())
        _say(
            {"at": time.monotonic(), "reports": plane.reports_count, "sessions": plane.sessions_count, "tokens": tokens}
        )


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def measure(nodes: int, window_seconds: float, directory: Path) -> dict[str, float]:
    counting = subprocess.Popen(
        [sys.executable, "-m", "bench.simulated_nodes", "--count"], stdout=subprocess.PIPE, text=True
    )
    simulator = None
    try:
        told = counting.stdout
        assert told is not None
        where = json.loads(told.readline())
        readings: list[dict[str, Any]] = []
        threading.Thread(target=lambda: readings.extend(map(json.loads, iter(told.readline, ""))), daemon=True).start()
        scenario, token = directory / "scenario.toml", directory / "token"
        scenario.write_text(SCENARIO.format(rate=nodes * REQUESTS_PER_ENGINE_SECOND))
        token.write_text(where["token"])
        command = [sys.executable, "-m", "node_agent", "simulate", "--scenario", str(scenario), "--nodes", str(nodes)]
        command += ["--server", where["address"], "--enrolment-server", where["enrolment"], "--token-file", str(token)]
        log = (directory / "simulator.log").open("w")
        simulator = subprocess.Popen([*command, "--state-dir", str(directory / "state")], stdout=log, stderr=log)
        process = psutil.Process(simulator.pid)
        cores = process.cpu_affinity()
        process.cpu_affinity(cores[:1])
        psutil.Process(counting.pid).cpu_affinity(cores[1:] or cores)
        deadline = time.monotonic() + CONNECT_SECONDS_MAX
        while not readings or readings[-1]["sessions"] < nodes:
            if time.monotonic() > deadline or simulator.poll() is not None:
                log.flush()
                raise SystemExit((directory / "simulator.log").read_text()[-3000:])
            threading.Event().wait(0.2)
        threading.Event().wait(5.0)
        before, cpu = readings[-1], _cpu_seconds(process)
        began = time.monotonic()
        threading.Event().wait(window_seconds)
        after, used, wall = readings[-1], _cpu_seconds(process) - cpu, time.monotonic() - began
        counted = after["reports"] - before["reports"]
        seconds = after["at"] - before["at"]
        return {
            "nodes": nodes,
            "sessions": after["sessions"],
            "reports_per_second": counted / seconds,
            "reports_per_node_second": counted / seconds / (nodes + 1),
            "core_percent": 100 * used / wall,
            "cpu_microseconds_per_report": 1e6 * (used / wall) / (counted / seconds),
            "rss_mib": process.memory_info().rss / 2**20,
            "generated_tokens_per_second": (after["tokens"] - before["tokens"]) / seconds,
        }
    finally:
        for child in (simulator, counting):
            if child is not None:
                child.send_signal(signal.SIGKILL)
                child.wait()


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--seconds", type=float, default=WINDOW_SECONDS)
    options = parser.parse_args()
    if options.count:
        asyncio.run(_count())
        return
    with tempfile.TemporaryDirectory(prefix="stoker-") as directory:
        raw = measure(options.nodes, options.seconds, Path(directory))
    RAW.parent.mkdir(parents=True, exist_ok=True)
    RAW.write_text(json.dumps(raw, indent=1))
    figures = {f"simulated_{name}": round(value, 3) for name, value in raw.items()}
    short = [name for name, target in TARGETS.items() if figures[name] < target]
    print(json.dumps({"figures": figures, "peers": {}, "targets": TARGETS, "short": short, "raw": str(RAW)}))


if __name__ == "__main__":
    main()
