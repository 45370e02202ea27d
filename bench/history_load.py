"""The process that `bench.history` measures: a fleet that reports, decisions, and history that is recorded or is not.

`python -m bench.history_load URL` holds the daemon's own parts: FleetStore, DecideRequest, RecordHistory, the row writers,
Database, the roll-up job. Reports come every ten seconds, node after node, in both kinds of rounds. What asks for decisions
writes eight bytes to stdin for each, its monotonic time: from then until the answer is what a decision took. One line of JSON
for each round goes to stdout. gRPC and the gateway are not here: they cost the same with history and without.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil
from sqlalchemy import text

from bench.history_fleet import BusyFleet
from bench.history_recording import TABLES, Recording
from controlplane.bootstrap import garbage
from controlplane.clock import SystemClock
from controlplane.fleet.events import DesiredChanged
from controlplane.fleet.requests import RequestEnd
from controlplane.fleet.snapshot import TrustThresholds
from controlplane.policies.decision import Admit, DecisionRequest
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.runtime.tasks import TaskScope
from controlplane.services.decide_request import DecideRequest
from controlplane.services.finish_request import FinishRequest
from controlplane.storage import engines
from controlplane.storage.database import Database
from controlplane.storage.database_url import parse_url

ORDER = (True, False, False, True)  # ABBA: what changes slowly on the machine meets both alike
REPORT_SECONDS = 10.0
SLICE_SECONDS = 0.05
PROBE_SECONDS = 0.005
REQUEST_SECONDS = 2.0  # until a request that was let in ends
BACKLOG_SECONDS_MAX = 5.0  # rows that wait beyond this many seconds' worth are not being kept up with
ASK = struct.Struct("d")
_PATH = "/v1/chat/completions"


@dataclass
class Heard:
    """What a round's window sees."""

    decision_seconds: list[float] = field(default_factory=list)
    refused_count: int = 0
    stall_seconds_max: float = 0.0

    def clear(self) -> None:
        self.decision_seconds.clear()
        self.refused_count, self.stall_seconds_max = 0, 0.0


class Load:
    """The fleet's reports and the clients' requests, the same in both kinds of rounds."""

    def __init__(self, fleet: BusyFleet, store: FleetStore, inflight: Inflight, recording: Recording) -> None:
        self._fleet, self._store, self._recording, self._clock = fleet, store, recording, SystemClock()
        clock, admission = self._clock, recording.admission
        draw = itertools.cycle((0.1, 0.7, 0.3, 0.9, 0.5)).__next__
        self._decide = {
            on: DecideRequest(store, inflight, clock, draw, frozenset, None, admission if on else None)
            for on in (True, False)
        }
        self._finish = {on: FinishRequest(store, inflight, None, admission if on else None) for on in (True, False)}
        self._ending: deque[tuple[float, bool, RequestEnd]] = deque()
        self.heard = Heard()

    async def report(self) -> None:
        """Every node once in ten seconds, a few at a time, for ever."""
        fleet, slices, began = self._fleet, round(REPORT_SECONDS / SLICE_SECONDS), time.monotonic()
        for number in itertools.count():
            beat, part = divmod(number, slices)
            now = self._clock.now()
            for at in range(part, len(fleet.nodes), slices):
                self._store.post(fleet.report(at, beat + 2, now))
            await asyncio.sleep(max(0.0, began + (number + 1) * SLICE_SECONDS - time.monotonic()))

    async def answer(self) -> None:
        """Decide whenever somebody asks, until nobody can any more."""
        asks = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asks), sys.stdin.buffer)
        padding = [{"role": "user", "content": "word " * 200}]
        with contextlib.suppress(asyncio.IncompleteReadError):
            for number in itertools.count():
                [asked] = ASK.unpack(await asks.readexactly(ASK.size))
                on, model = self._recording.on, self._fleet.model(number * 7)
                body = json.dumps({"model": model, "messages": padding}).encode()
                request = DecisionRequest(f"r{number}", f"tenant-{number % 20}", "key", _PATH, body, asked)
                answer = await self._decide[on](request)
                self.heard.decision_seconds.append(time.monotonic() - asked)
                if isinstance(answer, Admit):
                    self._end_later(request, model, answer.endpoints[0], on)
                else:
                    self.heard.refused_count += 1

    async def probe(self) -> None:
        """How late the loop is, at worst."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(PROBE_SECONDS)
            late = time.monotonic() - began - PROBE_SECONDS
            self.heard.stall_seconds_max = max(self.heard.stall_seconds_max, late)

    def _end_later(self, request: DecisionRequest, model: str, endpoint: str, on: bool) -> None:
        now = time.monotonic()
        end = RequestEnd(
            request.request_id,
            self._clock.now(),
            "POST",
            _PATH,
            200,
            tenant=request.tenant,
            model=model,
            endpoint=endpoint,
            attempts_count=1,
            duration_seconds=REQUEST_SECONDS,
            first_byte_seconds=0.2,
            sent_to_engine_seconds=0.002,
        )
        self._ending.append((now + REQUEST_SECONDS, on, end))
        while self._ending and self._ending[0][0] <= now:
            _, was_on, ended = self._ending.popleft()
            self._finish[was_on](ended)


async def measure(url: str, fleet: BusyFleet, settle_seconds: float, window_seconds: float, server_pid: int) -> None:
    clock, inflight = SystemClock(), Inflight()
    database, tasks = Database.open(url), TaskScope()
    store = FleetStore(clock, TrustThresholds(1.5 * REPORT_SECONDS, 3 * REPORT_SECONDS, 6 * REPORT_SECONDS))
    store.apply_now(DesiredChanged(fleet.desired(clock.now())), *fleet.sessions(clock.now()))
    recording = Recording(database, store, inflight, clock)
    load = Load(fleet, store, inflight, recording)
    for name, part in (("store", store.run()), ("reports", load.report()), ("probe", load.probe())):
        tasks.spawn(name, part, essential=True)
    tasks.spawn("answers", load.answer())
    garbage.settle()  # as the daemon does when it has started
    _say({"engines": fleet.engines_count, "nodes": len(fleet.nodes)})
    for on in ORDER:
        if on:
            recording.start()
        await asyncio.sleep(settle_seconds)
        reading = await _window(load, recording, window_seconds, server_pid)
        flush_seconds = await recording.stop() if on else 0.0
        if tasks.failed.is_set():
            raise SystemExit(f"the load ended: {tasks.failure}")
        _say({"with_history": on, **reading, "flush_seconds": flush_seconds})
    stored = _stored(url)
    dropped = {name: recording.handed[name] - stored[name] for name in TABLES}
    _say({"handed": recording.handed, "stored": stored, "dropped": dropped})
    await tasks.close()
    await database.close()


async def _window(load: Load, recording: Recording, seconds: float, server_pid: int) -> dict[str, float]:
    handed, rolled = recording.handed.copy(), recording.roll_up_seconds
    load.heard.clear()
    server = _server_cpu_seconds(server_pid)
    began, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    wall, used = time.monotonic() - began, time.process_time() - cpu
    waiting = recording.waiting
    took = load.heard.decision_seconds
    samples = recording.handed["engine_samples"] - handed["engine_samples"]
    behind = max(0.0, waiting["engine_samples"] - BACKLOG_SECONDS_MAX * samples / wall)
    return {
        "seconds": wall,
        "core_percent": 100 * used / wall,
        "server_core_percent": 100 * (_server_cpu_seconds(server_pid) - server) / wall,
        "decisions_per_second": len(took) / wall,
        "decision_seconds_p50": statistics.median(took),
        "decision_seconds_p99": statistics.quantiles(took, n=100)[98],
        "decision_seconds_max": max(took),
        "decisions_refused_count": load.heard.refused_count,
        "loop_stall_seconds_max": load.heard.stall_seconds_max,
        "engine_samples_per_second": (samples - behind) / wall,
        "rows_per_second": (recording.handed - handed).total() / wall,
        "rows_waiting": sum(waiting.values()),
        "roll_up_seconds": recording.roll_up_seconds - rolled,
    }


def _stored(url: str) -> dict[str, int]:
    engine = engines.create(parse_url(url))
    with engine.begin() as connection:
        found = {name: int(connection.scalar(text(f"SELECT COUNT(*) FROM {name}")) or 0) for name in TABLES}  # noqa: S608
    engine.dispose()
    return found


def _server_cpu_seconds(pid: int) -> float:
    """Of PostgreSQL and its sessions; SQLite's work is the process's own."""
    return sum(_cpu_seconds(pid)) if pid else 0.0


def _cpu_seconds(pid: int) -> Iterator[float]:
    server = psutil.Process(pid)
    for process in (server, *server.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            yield times.user + times.system


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of a database that is migrated and empty")
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--settle-seconds", type=float, required=True)
    parser.add_argument("--window-seconds", type=float, required=True)
    parser.add_argument("--server-pid", type=int, default=0)
    options = parser.parse_args()
    fleet = BusyFleet.of(options.nodes)
    asyncio.run(measure(options.url, fleet, options.settle_seconds, options.window_seconds, options.server_pid))


if __name__ == "__main__":
    main()
