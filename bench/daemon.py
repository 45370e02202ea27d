"""`make bench-daemon`: what the daemon and the agents cost when nothing happens, and how soon a killed daemon is right again.

Real parts throughout: two agents with a real vLLM engine each, Envoy, SQLite. CPU time is the processes' own (user and
system), over several windows; a restart is a SIGKILL, a start, and the wait until operators see both engines fresh.
"""

import asyncio
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from console.link.client import OperatorClient
from console.link.errors import LinkError
from console.model.fleet_view import Trust
from console.settings import load_credentials
from demo.processes import Child
from demo.stack import Stack, make_model, running

WINDOWS = 5
WINDOW_SECONDS = 12.0
RESTARTS = 5
DEAD_SECONDS = 2.0
RIGHT_SECONDS_MAX = 60.0
ASK_SECONDS = 0.1
TARGETS = {"idle_daemon_core_percent": 5.0, "restart_to_right_seconds_max": 5.0}
RAW = Path("bench/raw/daemon.json")


def main() -> None:
    """Print one line of JSON at the end; raw readings go to bench/raw."""
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as directory:
        stack = Stack(Path(directory), sample_seconds=10.0)  # as in production
        with running(stack):
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
            stack.watcher.stop()  # a console is not part of an idle daemon
            raw = {"idle": _idle(stack), "restart_seconds": _restarts(stack)}
    RAW.parent.mkdir(parents=True, exist_ok=True)
    RAW.write_text(json.dumps(raw, indent=1))
    print(json.dumps(_summary(raw)))


def _idle(stack: Stack) -> list[dict[str, float]]:
    agents = {f"agent_{index}": child for index, child in enumerate(stack.agents.values())}
    processes = {name: _process(child) for name, child in {"daemon": stack.daemon, **agents}.items()}
    processes["envoy"] = _envoy(stack)
    readings = []
    for _ in range(WINDOWS):
        began, before = time.monotonic(), {name: _cpu_seconds(process) for name, process in processes.items()}
        threading.Event().wait(WINDOW_SECONDS)
        wall = time.monotonic() - began
        reading = {
            f"{name}_core_percent": 100 * (_cpu_seconds(process) - before[name]) / wall
            for name, process in processes.items()
        }
        reading.update({f"{name}_rss_mib": process.memory_info().rss / 2**20 for name, process in processes.items()})
        readings.append(reading)
        print(f"idle for {wall:.0f} s: daemon {reading['daemon_core_percent']:.2f} % of a core", flush=True)
    return readings


def _restarts(stack: Stack) -> list[float]:
    """Seconds from the start of the new process until an operator who asks is told the truth of both engines."""
    seconds = []
    for _ in range(RESTARTS):
        stack.daemon.kill()
        threading.Event().wait(DEAD_SECONDS)
        began = time.monotonic()
        stack.daemon.start()
        asyncio.run(_until_right(stack, began + RIGHT_SECONDS_MAX))
        seconds.append(time.monotonic() - began)
        print(f"right again {seconds[-1]:.2f} s after the start", flush=True)
    return seconds


async def _until_right(stack: Stack, deadline: float) -> None:
    credentials = load_credentials(stack.credentials, {})
    while time.monotonic() < deadline:
        try:
            async with OperatorClient.open(credentials, timeout_seconds=2.0) as operator:
                rows = (await operator.fleet()).engines.values()
        except LinkError:
            rows = {}.values()
        if len(rows) == len(stack.nodes) and all(row.routable and row.trust is Trust.FRESH for row in rows):
            return
        await asyncio.sleep(ASK_SECONDS)


def _process(child: Child) -> psutil.Process:
    return psutil.Process(child.pid)


def _envoy(stack: Stack) -> psutil.Process:
    state = json.loads((stack.data_dir / "run" / "envoy-state.json").read_text())
    return psutil.Process(state["pid"])


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _summary(raw: dict[str, Any]) -> dict[str, Any]:
    idle = {name: round(statistics.median(row[name] for row in raw["idle"]), 2) for name in raw["idle"][0]}
    figures = {f"idle_{name}": value for name, value in idle.items()}
    figures["restart_to_right_seconds_p50"] = round(statistics.median(raw["restart_seconds"]), 2)
    figures["restart_to_right_seconds_max"] = round(max(raw["restart_seconds"]), 2)
    short = [name for name, target in TARGETS.items() if figures[name] > target]
    return {"figures": figures, "peers": {}, "targets": TARGETS, "short": short, "raw": str(RAW)}


if __name__ == "__main__":
    main()
