"""`python -m demo check`: the whole fleet, forty requests, and one line of JSON with what was measured.

Every figure is of this run: what the official client counted, what operators see over gRPC, what history holds in SQL.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from console.model.fleet_view import FleetView
from demo.processes import StepFailedError
from demo.setting_up import Steps, set_up
from demo.stack import MODEL, NODES, Stack, running
from demo.traffic import BackgroundTraffic, Tally, burst

REQUESTS = 40
AT_ONCE = 6
SETTLE_SECONDS_MAX = 20.0
REPORT_SECONDS = 1.0
PICTURE_SECONDS = 8.0  # for the traffic to show in what engines report
PICTURES: dict[str, tuple[str, ...]] = {
    "console": (),
    "console-light": ("--theme", "stoker-light"),
    "engine": ("--at", f"engine {MODEL}@{NODES[0].name}"),
    "node": ("--at", f"node {NODES[0].name}"),
    "events": ("--at", "events"),
}


@dataclass
class Seen:
    """The highest that operators saw while the requests ran."""

    kv_used_ratio: float | None = None
    intensity: float | None = None
    ridges: list[float] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    providers: set[str] = field(default_factory=set)
    engines: int = 0

    def look(self, view: FleetView) -> None:
        rows = view.engines.values()
        self.engines = sum(row.routable for row in rows)
        for row in rows:
            self.kv_used_ratio = _highest(self.kv_used_ratio, row.kv_used_ratio)
            point = row.working_point
            self.intensity = _highest(self.intensity, point.intensity_flops_per_byte if point else None)
            self.versions.add(row.engine_version)
            self.providers.add(row.provider)
        self.ridges = [row.ridge_flops_per_byte for row in rows if row.ridge_flops_per_byte is not None]


def _highest(known: float | None, new: float | None) -> float | None:
    if known is None or new is None:
        return new if known is None else known
    return max(known, new)


def check(pictures: Path | None) -> int:
    """Run it; the exit code. The last line of stdout is the JSON."""
    steps = Steps(9)
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as directory:
        stack = Stack(Path(directory))
        try:
            with running(stack):
                key = set_up(stack, steps)
                began = time.monotonic()
                with steps.step(f"{REQUESTS} requests through the gateway, {AT_ONCE} at a time"):
                    tally, seen = asyncio.run(_measure(stack, key))
                with steps.step("history agrees with the clients"):
                    history = _settled(stack, tally, began)
                if pictures is not None:
                    _draw(stack, key, pictures)
            left = stack.stop()
        except StepFailedError as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
    result = _result(tally, seen, history)
    problems = _problems(tally, seen, history, left)
    for problem in problems:
        print(f"wrong: {problem}", file=sys.stderr)
    print(json.dumps(result))
    return 1 if problems else 0


def _draw(stack: Stack, key: str, directory: Path) -> None:
    """The console's screens over this very fleet, under light traffic."""
    directory.mkdir(parents=True, exist_ok=True)
    traffic = BackgroundTraffic(stack.base_url, key, MODEL, per_second=2.0, lengths=(300, 900))
    traffic.start()
    try:
        time.sleep(PICTURE_SECONDS)
        for name, options in PICTURES.items():
            path = directory / f"{name}.svg"
            stack.stoker_text("console", "--screenshot", str(path), "--size", "120x40", *options)
            print(f"      {path}", flush=True)
    finally:
        traffic.stop()


async def _measure(stack: Stack, key: str) -> tuple[Tally, Seen]:
    seen = Seen()
    stack.watcher.on_view = seen.look
    seen.look(stack.watcher.view)
    async with AsyncOpenAI(base_url=stack.base_url, api_key=key, max_retries=0, timeout=120) as client:
        tally = await burst(client, MODEL, REQUESTS, AT_ONCE, seed=7)
    await asyncio.sleep(2 * REPORT_SECONDS)  # what operators see is up to a report behind
    return tally, seen


def _settled(stack: Stack, tally: Tally, since: float) -> list[dict[str, Any]]:
    """History's rows, once the last samples are in; as they are when they never agree."""
    minutes = int((time.monotonic() - since) / 60) + 2
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        rows: list[dict[str, Any]] = stack.stoker("history", "engines", "--since", f"{minutes}m")
        if _tokens(rows) == tally.tokens or time.monotonic() > deadline:
            return rows
        time.sleep(0.5)


def _tokens(rows: list[dict[str, Any]]) -> int:
    return sum((row["prompt_tokens"] or 0) + (row["generation_tokens"] or 0) for row in rows)


def _result(tally: Tally, seen: Seen, history: list[dict[str, Any]]) -> dict[str, Any]:
    hits = [
        (row["prefix_hit_ratio"], row["prompt_tokens"])
        for row in history
        if row["prefix_hit_ratio"] is not None and row["prompt_tokens"]
    ]
    asked = sum(tokens for _, tokens in hits)
    return {
        "engines": seen.engines,
        "vllm_version": ", ".join(sorted(seen.versions)),
        "requests_sent": tally.sent,
        "requests_completed": tally.completed,
        "streamed_chunks": tally.streamed_chunks,
        "ttft_seconds_p50": round(statistics.median(tally.ttft_seconds), 4) if tally.ttft_seconds else None,
        "kv_used_ratio_max": _rounded(seen.kv_used_ratio),
        "arithmetic_intensity_max": _rounded(seen.intensity),
        "ridge_flops_per_byte": _rounded(min(seen.ridges)) if seen.ridges else None,
        "prefix_hit_ratio": _rounded(sum(ratio * tokens for ratio, tokens in hits) / asked) if asked else None,
        "history_rows": sum(row["samples_count"] for row in history),
        "tokens_by_client": tally.tokens,
        "tokens_by_history": _tokens(history),
        "providers": sorted(seen.providers),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _problems(tally: Tally, seen: Seen, history: list[dict[str, Any]], left: list[str]) -> list[str]:
    found = [f"a request failed: {error}" for error in tally.errors[:3]]
    if tally.completed != tally.sent:
        found.append(f"{tally.sent - tally.completed} of {tally.sent} requests did not complete")
    if tally.tokens != _tokens(history):
        found.append(f"clients counted {tally.tokens} tokens, history has {_tokens(history)}")
    if len(seen.providers) < 2:
        found.append(f"engines of only {sorted(seen.providers)} were seen")
    if not seen.kv_used_ratio or not seen.intensity or not seen.ridges:
        found.append("KV use, arithmetic intensity or the ridge was never seen")
    found.extend(f"left running and killed: {process}" for process in left)
    return found
