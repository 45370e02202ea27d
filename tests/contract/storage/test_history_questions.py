"""Every question of `stoker history` and every figure of `stoker history plot` is answered, on both databases.

By the very path of `stoker sql`: the documented views, with the words that the command sends. What the figures mean is tested
where views and rollups are.
"""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Table, insert

from console.cli.history_ask import Span, in_views, span_of
from console.cli.history_plot import METRICS, statement
from console.cli.history_questions import FILTERS, QUESTIONS
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.services.run_sql import RunSql
from controlplane.storage.asking.asker import SqlAsker
from controlplane.storage.asking.question import Answer
from controlplane.storage.database import Database
from controlplane.storage.tables import admission, rollups
from tests.contract.storage.facts import T0, at
from tests.contract.storage.test_leases import LEASE
from tests.contract.storage.test_past import DEVICE, ENGINE, NODE

UNTIL = T0 + timedelta(hours=1)
SPANS = {
    "minutes": span_of(T0 - timedelta(hours=1), UNTIL, "auto"),
    "hours and minutes": span_of(T0 - timedelta(days=2), UNTIL, "auto"),
    "hours": span_of(T0 - timedelta(days=2), UNTIL, "hour"),
}
REQUEST = {
    **{name: ENGINE[name] for name in ("engine_id", "node", "provider", "region", "model")},
    "tenant": "acme",
    "requests_count": 10,
    "completed_count": 9,
    "aborted_count": 1,
    "refused_count": 0,
    "failed_count": 0,
    "unknown_count": 0,
    "prompt_tokens": 1000,
    "cached_tokens": 250,
    "output_tokens": 300,
    "recompute_tokens": 100,
    "recompute_seconds": 0.5,
}
BUSY = {"covered_seconds": 3600.0, "placed_seconds": 3600.0, "serving_seconds": 3000.0, "busy_seconds": 900.0}


@pytest.fixture
async def asked(database: Database, database_url: str) -> RunSql:
    """Two minutes and an hour of history; the hour before the minutes, as in a fleet that runs."""

    async def put(table: Table, *rows: dict[str, Any]) -> None:
        def write(uow: Any) -> None:
            uow.past._connection.execute(insert(table), list(rows))

        await database.run(write)

    minutes, hour = ({"minute_at": T0}, {"minute_at": at(60)}), {"hour_at": T0 - timedelta(hours=4)}
    full = {**ENGINE, "kv_used_ratio_max": 0.97, "waiting_count_max": 4, "preemptions_count": 2}
    await put(rollups.rolled_engine_minutes, *({**full, **minute} for minute in minutes))
    await put(rollups.rolled_engine_hours, {**full, **hour})
    await put(rollups.rolled_request_minutes, *({**REQUEST, **minute} for minute in minutes))
    await put(rollups.rolled_request_hours, {**REQUEST, **hour})
    await put(rollups.rolled_node_minutes, *({**NODE, **minute} for minute in minutes))
    await put(rollups.rolled_node_hours, {**NODE, **hour})
    await put(rollups.rolled_device_hours, {**DEVICE, **hour, **BUSY})
    bucket = {"engine_id": "llama@gcp-1", "tenant": "acme", "model": "llama", "measure": "ttft_seconds"}
    await put(
        rollups.rolled_latency_minutes,
        {**bucket, **minutes[0], "bucket": 40, "requests_count": 9},
        {**bucket, **minutes[0], "bucket": 50, "requests_count": 1},
    )
    counts = dict.fromkeys(admission.ADMISSION_COUNTS, 1)
    await put(
        admission.admission_counts,
        {"minute_at": T0, "boot_id": "b", "tenant": "acme", "model": "llama", "reason": "at_capacity", **counts},
    )
    event = FleetEvent(at(5), Severity.INFO, "engine_ready", "llama@gcp-1 is ready", engine_id="llama@gcp-1")
    await database.run(lambda uow: uow.events.append([event]))
    await database.run(lambda uow: uow.leases.put(LEASE))
    return RunSql(SqlAsker(database_url))


async def _answer(run: RunSql, sql: str, span: Span, **filters: str) -> Answer:
    words = in_views(sql, span)
    given = span.parameters | dict.fromkeys(FILTERS, "") | filters
    return await run(words, {name: value for name, value in given.items() if f":{name}" in words})


async def test_every_question_has_an_answer(asked: RunSql) -> None:
    for question, span in product(QUESTIONS, SPANS):
        answer = await _answer(asked, question.sql, SPANS["hours" if question.hours_only else span])
        only_minutes = question.name == "latency" and span == "hours"
        assert bool(answer.rows) != only_minutes, (question.name, span)
        assert len(answer.columns) == len(set(answer.columns)), question.name


async def test_every_figure_can_be_drawn(asked: RunSql) -> None:
    for metric, by, span in product(METRICS, (None, "engine"), SPANS):
        answer = await _answer(asked, statement(METRICS[metric], by), SPANS[span])
        assert answer.columns == ("at", "series", "value")
        assert len(answer.rows) == {"minutes": 2, "hours and minutes": 3, "hours": 1}[span], (metric, by, span)


async def test_hours_and_minutes_together_count_nothing_twice(asked: RunSql) -> None:
    tenants = next(question for question in QUESTIONS if question.name == "tenants")
    counted = {}
    for name, span in SPANS.items():
        answer = await _answer(asked, tenants.sql, span)
        counted[name] = answer.rows[0][answer.columns.index("requests_count")]
    assert counted == {"minutes": 20, "hours and minutes": 30, "hours": 10}


async def test_a_filter_that_nothing_matches_leaves_nothing(asked: RunSql) -> None:
    for question in QUESTIONS:
        span = SPANS["hours" if question.hours_only else "hours and minutes"]
        for name in question.filters:
            found = await _answer(asked, question.sql, span, **{name: "x' OR '1'='1"})
            assert not found.rows, (question.name, name)
