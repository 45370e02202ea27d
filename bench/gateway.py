"""How much time the gateway adds to a request: open-loop load, straight to the engine and through the gateway, in turns.

`python -m bench.gateway` starts everything itself with a fake engine, so that only the gateway is measured; with `--vllm` the
whole of Stoker with a real vLLM engine. With `--url`, `--direct-url`, `--key` and `--model` it measures what already runs. The
last line is JSON.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import platform
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.real_engine import real_engine
from controlplane.clock import SystemClock
from demo.stack import MODEL

CHAT = "/v1/chat/completions"
RAW = Path(__file__).parent / "raw"
TARGETS = {"gateway_added_ms_p50_at_50rps": 3.0}


@dataclass(frozen=True, slots=True)
class Target:
    """One way to the engine."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    pids: tuple[tuple[str, int], ...] = ()  # processes whose CPU time is told
    tls: ssl.SSLContext | None = None  # None with https: the system's CAs


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Round:
    way: str
    rate_per_second: int
    index: int
    failed_count: int
    cpu_us_per_request: dict[str, float]  # of the gateway's processes; empty for those that we did not start
    first_byte_ms: list[float]
    total_ms: list[float]


class Connections:
    """Keep-alive connections to one target; a bare client, so that what is measured is not the client."""

    def __init__(self, target: Target, body: bytes) -> None:
        parts = urlsplit(target.url)
        self._host = parts.hostname or "127.0.0.1"
        self._tls = (target.tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        head = [f"POST {CHAT} HTTP/1.1", f"host: {parts.netloc}", "content-type: application/json"]
        head += [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in target.headers)]
        self._request = ("\r\n".join(head) + "\r\n\r\n").encode() + body
        self.pids = dict(target.pids)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, due: float) -> tuple[bool, float, float]:
        """One request that was due at `due`: success, milliseconds to the first byte and to the end, from when it was due."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        first = time.perf_counter()
        if b"transfer-encoding: chunked" in head:
            while (size := int(await reader.readline(), 16)) > 0:
                await reader.readexactly(size + 2)
            await reader.readline()
        else:
            await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        ended = time.perf_counter()
        self._idle.append((reader, writer))
        return b" 200 " in head[:16], (first - due) * 1000, (ended - due) * 1000

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


async def one_round(way: str, connections: Connections, rate: int, seconds: float, index: int) -> Round:
    """Requests at a fixed rate, whether or not the earlier ones have ended."""
    count, started = int(rate * seconds), time.perf_counter() + 0.05
    results: list[tuple[bool, float, float]] = []
    cpu_before = {name: _cpu_seconds(pid) for name, pid in connections.pids.items()}

    async def at(number: int) -> None:
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        try:
            results.append(await connections.ask(time.perf_counter()))
        except (OSError, asyncio.IncompleteReadError):
            results.append((False, 0.0, 0.0))

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(at(number))
    good = [result for result in results if result[0]]
    cpu = {name: (_cpu_seconds(pid) - cpu_before[name]) / count * 1e6 for name, pid in connections.pids.items()}
    return Round(
        way, rate, index, count - len(good), cpu, [result[1] for result in good], [result[2] for result in good]
    )


async def measure(ways: dict[str, Target], body: bytes, options: argparse.Namespace) -> list[Round]:
    rounds: list[Round] = []
    for rate in options.rates:
        pools = {way: Connections(target, body) for way, target in ways.items()}
        for index in range(options.rounds):
            for way in sorted(ways, reverse=index % 2 == 1):  # in turns, so that drift of the machine hits both
                await one_round(way, pools[way], rate, 0.5, -1)  # opens connections; not counted
                done = await one_round(way, pools[way], rate, options.seconds, index)
                pools[way].close()  # the engine would close them while the other way is measured
                rounds.append(done)
                p50 = statistics.median(done.total_ms) if done.total_ms else float("nan")
                print(f"{rate:5d}/s round {index} {way:8s} p50 {p50:7.2f} ms  failed {done.failed_count}", flush=True)
    return rounds


def percentile(values: list[float], ratio: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * ratio))] if ordered else float("nan")


def summary(rounds: list[Round]) -> tuple[dict[str, float], dict[str, float]]:
    """The gateway's figures and, beside them, those of the direct way: medians over rounds."""
    figures: dict[str, float] = {}
    direct: dict[str, float] = {}
    for rate in sorted({done.rate_per_second for done in rounds}):
        here = [done for done in rounds if done.rate_per_second == rate]
        by_way = {way: [done for done in here if done.way == way] for way in ("direct", "gateway")}
        for way, target in (("direct", direct), ("gateway", figures)):
            for name, ratio in (("p50", 0.5), ("p99", 0.99)):
                values = [percentile(done.total_ms, ratio) for done in by_way[way]]
                target[f"{way}_ms_{name}_at_{rate}rps"] = round(statistics.median(values), 3)
        pairs = list(zip(by_way["direct"], by_way["gateway"], strict=True))
        for kind in ("total_ms", "first_byte_ms"):
            added = [percentile(getattr(b, kind), 0.5) - percentile(getattr(a, kind), 0.5) for a, b in pairs]
            name = "gateway_added_ms" if kind == "total_ms" else "gateway_added_first_byte_ms"
            figures[f"{name}_p50_at_{rate}rps"] = round(statistics.median(added), 3)
            if kind == "total_ms":
                figures[f"{name}_p50_at_{rate}rps_worst_round"] = round(max(added), 3)
        for name in by_way["gateway"][0].cpu_us_per_request:
            spent = statistics.median(done.cpu_us_per_request[name] for done in by_way["gateway"])
            figures[f"cpu_us_per_request_{name}_at_{rate}rps"] = round(spent)
        figures[f"failed_count_at_{rate}rps"] = sum(done.failed_count for done in here)
    return figures, direct


def _run_gateway(engine_port: int, address: Any, ready: Event, done: Event) -> None:
    """In a process of its own, as the daemon is: decision service, access log, and Envoy in front of the engine."""
    from controlplane.policies.decision import Admit
    from tests.fakes.engine_server import FakeEngine
    from tests.integration.gateway.harness import gateway

    async def serve() -> None:
        async with gateway() as built:
            engine = FakeEngine("fake", name="fake-1")  # only its names; the real one is another process
            engine.stop()
            engine.port = engine_port
            built.answer = Admit((f"127.0.0.1:{engine_port}",), ("fake-1",))
            await built.start(engine)
            address.update(url=built.base_url, key=built.signing.api_key(), envoy=built.supervisor.status.pid)
            ready.set()
            await asyncio.to_thread(done.wait)

    asyncio.run(serve())


@contextlib.contextmanager
def _own_gateway() -> Iterator[dict[str, Target]]:
    from tests.integration.gateway.harness import free_port

    port = free_port()
    engine = subprocess.Popen([sys.executable, "-m", "tests.fakes.engine_server", "--port", str(port)])
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        address, ready, done = manager.dict(), context.Event(), context.Event()
        process = context.Process(target=_run_gateway, args=(port, address, ready, done))
        process.start()
        try:
            if not ready.wait(60):
                raise RuntimeError("the gateway did not start within 60 s")
            key = ("authorization", f"Bearer {address['key']}")
            pids = (("envoy", int(address["envoy"])), ("daemon", process.pid or 0))
            yield {"direct": Target(f"http://127.0.0.1:{port}"), "gateway": Target(address["url"], (key,), pids)}
        finally:
            done.set()
            process.join(20)
            engine.terminate()
            engine.wait(20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="of a gateway that runs already")
    parser.add_argument("--direct-url", help="of an engine behind it")
    parser.add_argument("--key", default="", help="API key for the gateway")
    parser.add_argument("--direct-key", default="", help="API key for the engine, if it wants one")
    parser.add_argument("--vllm", action="store_true", help="start a real vLLM engine and measure at 50 requests/s")
    parser.add_argument("--model", default="fake")
    parser.add_argument("--max-tokens", type=int, default=1)
    parser.add_argument("--body-bytes", type=int, default=2000)
    parser.add_argument("--rates", type=lambda text: [int(rate) for rate in text.split(",")], default=[50, 300])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    if options.vllm:
        options.model, options.rates = MODEL, [50]
    if bool(options.url) != bool(options.direct_url):
        parser.error("--url and --direct-url belong together")
    message = {"role": "user", "content": "word " * (options.body_bytes // 5)}
    body = json.dumps({"model": options.model, "messages": [message], "max_tokens": options.max_tokens}).encode()
    with contextlib.ExitStack() as stack:
        if options.url:
            ways = {
                "direct": Target(options.direct_url, _authorization(options.direct_key)),
                "gateway": Target(options.url, _authorization(options.key)),
            }
        elif options.vllm:
            real = stack.enter_context(real_engine())
            ways = {
                "direct": Target(real.direct_url, tls=real.direct_tls),
                "gateway": Target(real.gateway_url, _authorization(real.key)),
            }
        else:
            ways = stack.enter_context(_own_gateway())
        rounds = asyncio.run(measure(ways, body, options))
    figures, direct = summary(rounds)
    RAW.mkdir(exist_ok=True)
    raw = RAW / f"gateway-{SystemClock().now():%Y%m%dT%H%M%SZ}.json"
    engine = "real" if options.url or options.vllm else "fake"
    about = {
        "engine": engine,
        "body_bytes": len(body),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    raw.write_text(json.dumps({"about": about, "rounds": [asdict(done) for done in rounds]}))
    short = [name for name, most in TARGETS.items() if not figures.get(name, float("inf")) <= most]
    line = {"engine": engine, "figures": figures, "peers": {"direct": direct}, "targets": TARGETS, "short": short}
    print(json.dumps({**line, "raw": str(raw.relative_to(Path(__file__).parent.parent))}))
    return 1 if short else 0


def _authorization(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),) if key else ()


if __name__ == "__main__":
    sys.exit(main())
