"""What `bench.history` measures on one database, part by part: the sustained load, the roll-up, the queries.

Each part gets a database of its own and returns its raw readings. Rows are seeded by `history_data`; what is timed goes through
the daemon's own `Database` and `RunSql`, or through the bare driver as a BI tool's does.
"""

import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any

import psycopg

from bench import history_data as data
from bench.history_databases import Stored
from bench.history_load import ASK
from controlplane.clock import SystemClock
from controlplane.services.run_sql import ROWS_MAX, RunSql
from controlplane.storage.asking.asker import SqlAsker
from controlplane.storage.database import Database
from controlplane.storage.database_url import database_file

ASKS_PER_SECOND = 50
SETTLED = timedelta(seconds=20)  # after the last minute's end, when it may be rolled up
MODELS = 100
ASKED_MODELS = 2  # of the queries' engines, one half has the model that is asked for
RUNS = 9
# Where a parameter belongs is {}: each way of asking writes it in its own form.
_ENGINE_DAY = "SELECT * FROM engine_minutes WHERE engine_id = {} AND minute_at >= {} ORDER BY minute_at"
_MODEL_WEEK = (
    "SELECT hour_at, COUNT(*) AS engines_count, SUM(prompt_tokens) AS prompt_tokens, "
    "SUM(generation_tokens) AS generation_tokens, SUM(ready_seconds) AS ready_seconds, "
    "MAX(kv_used_ratio_max) AS kv_used_ratio_max FROM engine_hours "
    "WHERE model = {} AND hour_at >= {} GROUP BY hour_at ORDER BY hour_at"
)
_MODEL_WEEK_BY_ENGINE = (
    "SELECT engine_id, hour_at, prompt_tokens, generation_tokens, kv_used_ratio_max FROM engine_hours "
    "WHERE model = {} AND hour_at >= {}"
)
_FLEET_NOW = "SELECT * FROM fleet_now"


@dataclass(frozen=True, slots=True)
class Sizes:
    nodes: int = 1_260  # of eight engines each
    settle_seconds: float = 5.0
    window_seconds: float = 30.0
    rolled_engines: int = 10_000
    minute_engines: int = 1_000
    hour_engines: int = 2_000
    fleet_engines: int = 10_000


QUICK = Sizes(20, 1.0, 4.0, 200, 20, 40, 200)


def sustained(stored: Stored, sizes: Sizes) -> dict[str, Any]:
    """Rounds with and without history in a process of its own, which is asked for decisions from here."""
    words = ["--nodes", str(sizes.nodes), "--settle-seconds", str(sizes.settle_seconds)]
    words += ["--window-seconds", str(sizes.window_seconds), "--server-pid", str(stored.server_pid)]
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.history_load", stored.url, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    ended, told = Event(), []
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        asker = Thread(target=_ask, args=(child.stdin, ended), daemon=True)
        for line in child.stdout:
            told.append(json.loads(line))
            if len(told) == 1:
                asker.start()
            _show_round(stored.kind, told[-1])
        ended.set()
        if child.wait() != 0:
            raise SystemExit(f"the process under load ended with {child.returncode}")
    finally:
        ended.set()
        child.kill()
        child.wait()
    return {"fleet": told[0], "rounds": told[1:-1], "rows": told[-1]}


def _ask(pipe: Any, ended: Event) -> None:
    began = time.monotonic()
    number = 0
    while not ended.is_set():
        try:
            pipe.write(ASK.pack(time.monotonic()))
            pipe.flush()
        except OSError:
            return
        number += 1
        ended.wait(max(0.0, began + number / ASKS_PER_SECOND - time.monotonic()))


def _show_round(kind: str, told: Mapping[str, Any]) -> None:
    if "core_percent" in told:
        print(
            f"{kind}: {'with' if told['with_history'] else 'without'} history {told['core_percent']:.1f} % of a core, "
            f"decisions p50 {1e3 * told['decision_seconds_p50']:.2f} ms p99 {1e3 * told['decision_seconds_p99']:.2f} ms, "
            f"loop late by {1e3 * told['loop_stall_seconds_max']:.0f} ms at most, "
            f"{told['engine_samples_per_second']:.0f} engine samples/s, {told['rows_waiting']:.0f} rows wait",
            flush=True,
        )


def rollup(stored: Stored, sizes: Sizes) -> dict[str, Any]:
    """One hour of all engines, rolled up as the daemon's job does it, after the minute before it."""
    hour_at = _hour(SystemClock().now()) - timedelta(hours=2)
    since, until = hour_at - timedelta(minutes=1), hour_at + timedelta(hours=1)
    with data.seeding(stored.url) as seed:
        data.make_days(seed, since - timedelta(hours=1), until)
        before = data.stored_bytes(seed, "engine_samples")
        with _told(f"{stored.kind}: seeding an hour of samples of {sizes.rolled_engines:,} engines"):
            rows = data.seed_samples(seed, since, until, sizes.rolled_engines, MODELS)
        size = data.stored_bytes(seed, "engine_samples") - before
        data.analyze(seed)
    # What is known of every process already, as it is of all but a fresh database's.
    asyncio.run(_steps(stored.url, hour_at + SETTLED))
    steps = asyncio.run(_steps(stored.url, until + SETTLED))
    print(f"{stored.kind}: rolled up in {len(steps)} steps, {sum(s['seconds'] for s in steps):.2f} s", flush=True)
    return {"sample_rows": rows, "sample_bytes": size, "steps": steps}


async def _steps(url: str, now: datetime) -> list[dict[str, Any]]:
    database = Database.open(url)
    found: list[dict[str, Any]] = []
    try:
        while True:
            began = time.perf_counter()
            step = await database.run_background(lambda uow: uow.rollups.step(now))
            seconds = time.perf_counter() - began
            if step is None:
                return found
            found.append({"kind": step.kind, "at": step.at.isoformat(), "seconds": seconds})
    finally:
        await database.close()


def queries(stored: Stored, sizes: Sizes) -> dict[str, Any]:
    """Over the documented views: through the driver, and through what `stoker sql` goes through."""
    now = SystemClock().now()
    until = _hour(now)
    day, week = until - timedelta(hours=24), until - timedelta(days=7)
    stored_as: dict[str, dict[str, int]] = {}
    with data.seeding(stored.url) as seed:
        data.make_days(seed, day, until)
        for name, since, engines_count, models in (
            ("rolled_engine_hours", week, sizes.hour_engines, ASKED_MODELS),
            ("rolled_engine_minutes", day, sizes.minute_engines, MODELS),
        ):
            before = data.stored_bytes(seed, name)
            with _told(f"{stored.kind}: seeding {name} of {engines_count:,} engines"):
                rows = data.seed_buckets(seed, name, since, until, engines_count, models)
            stored_as[name] = {"rows": rows, "bytes": data.stored_bytes(seed, name) - before}
        data.seed_fleet(seed, now, sizes.fleet_engines, MODELS)
        data.analyze(seed)
    engine_id = f"model-{100 + 7 % MODELS}@node-10000.7"
    asked = {
        "engine_day_of_minutes": (_ENGINE_DAY, (engine_id, _written(day))),
        "model_week_of_hours": (_MODEL_WEEK, ("model-100", _written(week))),
        "model_week_of_hours_by_engine": (_MODEL_WEEK_BY_ENGINE, ("model-100", _written(week))),
        "fleet_now": (_FLEET_NOW, ()),
    }
    found = {name: _ask_driver(stored, sql, parameters) for name, (sql, parameters) in asked.items()}
    for name, (sql, parameters) in asked.items():
        if found[name]["rows"] <= ROWS_MAX:
            found[f"{name}_by_stoker_sql"] = asyncio.run(_ask_stoker(stored, sql, parameters))
    for name, reading in found.items():
        print(f"{stored.kind}: {name} {1e3 * reading['median']:.1f} ms, {reading['rows']:,} rows", flush=True)
    return {"stored": stored_as, "queries": found}


def _ask_driver(stored: Stored, sql: str, parameters: Sequence[str]) -> dict[str, Any]:
    file = database_file(stored.url)
    connect: Callable[[], Any]
    if file is not None:
        text = sql.format(*("?" for _ in parameters))
        connect = lambda: sqlite3.connect(f"file:{file}?mode=ro", uri=True)  # noqa: E731 - two ways to say one thing
    else:
        text = sql.format(*("%s" for _ in parameters))
        connect = lambda: psycopg.connect(stored.url, autocommit=True)  # noqa: E731
    with closing(connect()) as connection:

        def ask() -> int:
            return len(connection.execute(text, parameters).fetchall())

        return _timed(ask)


async def _ask_stoker(stored: Stored, sql: str, parameters: Sequence[str]) -> dict[str, Any]:
    run_sql = RunSql(SqlAsker(stored.url))
    names = [f"p{number}" for number in range(len(parameters))]
    text, values = sql.format(*(f":{name}" for name in names)), dict(zip(names, parameters, strict=True))
    seconds, rows, truncated = [], 0, False
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        answer = await run_sql(text, values, rows_max=ROWS_MAX, seconds_max=60.0)
        seconds.append(time.perf_counter() - began)
        rows, truncated = len(answer.rows), answer.truncated
    return {"rows": rows, "truncated": truncated, "seconds": seconds[1:], "median": statistics.median(seconds[1:])}


def _timed(ask: Callable[[], int]) -> dict[str, Any]:
    """The first run warms the caches and is not counted."""
    rows, seconds = ask(), []
    for _ in range(RUNS):
        began = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - began)
    return {"rows": rows, "seconds": seconds, "median": statistics.median(seconds)}


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _written(at: datetime) -> str:
    """As people write it for both databases."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


@contextmanager
def _told(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)
