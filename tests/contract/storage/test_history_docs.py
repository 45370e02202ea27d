"""docs/history.md is true: its columns are the columns, and its queries answer, on both databases alike."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, inspect

from controlplane.fleet.history import AuditEntry
from controlplane.fleet.node_records import RequestOutcome, RequestRecord, RequestRow
from controlplane.fleet.observed import Severity
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork
from tests.contract.storage.facts import at, event, sample

_TEXT = (Path(__file__).parents[3] / "docs" / "history.md").read_text()
_QUERIES = re.findall(r"^\*\*([^*]+)\*\*[^`]*```sql\n(.+?)```", _TEXT, re.DOTALL | re.MULTILINE)
_SECTIONS = re.findall(r"^### `(\w+)`\n(.+?)(?=^#)", _TEXT, re.DOTALL | re.MULTILINE)


def _fill(uow: UnitOfWork) -> None:
    other = {"engine_id": "llama@aws-1", "node": "aws-1", "provider": "aws", "region": "us-east-1"}
    counted = ("prompt_tokens", "generation_tokens", "steps", "step_tokens", "prefix_query_tokens", "prefix_hit_tokens")
    for engine, factor in (({}, 1), (other, 4)):
        for n in range(1, 4):
            readings: dict[str, Any] = {f"{name}_total": n * factor * 10 for name in counted}
            readings |= {"flops_total": n * 6e12, "bytes_total": n * 2e12, "preemptions_total": n - 1}
            readings |= {"ttft_seconds_sum_total": n * 0.25, "ttft_count_total": n}
            gauges = {"kv_capacity_tokens": 100, "kv_used_tokens": 30 * n, "waiting_count": n}
            instance = "i1" if n < 3 else "i2"
            uow.samples.append_many([sample(60 * n, instance_id=instance, **gauges, **readings, **engine)])
    asked = RequestRecord(
        "r1", "llama@gcp-1", "i1", "meta/llama", "acme", at(60), at(62), RequestOutcome.COMPLETED, 200
    )
    asked = replace(asked, prompt_tokens=100, cached_tokens=25, queue_seconds=0.5, ttft_seconds=1.5)
    uow.request_records.append_many([RequestRow("gcp-1", "s1", 1, "gcp", "europe-west4", asked)])
    uow.events.append([event(200, severity=Severity.ERROR, kind="engine_failed"), event(201)])
    uow.audit.append(AuditEntry(at(199), "operator:ann", "drain", "llama@gcp-1", "", "done", "10.0.0.9"))


def _ask(uow: UnitOfWork, query: str) -> Sequence[Row[Any]]:
    return uow.samples._connection.exec_driver_sql(query).all()


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | None) else round(float(value), 6)


async def _answer(database: Database, title: str) -> list[list[Any]]:
    query = next(query for question, query in _QUERIES if title in question)
    await database.run(_fill)
    rows = await database.run(lambda uow: _ask(uow, query))
    return [[_plain(value) for value in row] for row in rows]


def test_there_are_examples_enough() -> None:
    assert len(_QUERIES) >= 5


async def test_the_documented_columns_are_the_columns(database: Database) -> None:
    assert [name for name, _ in _SECTIONS] == [
        "engine_intervals",
        "engine_samples",
        "request_records",
        "fleet_events",
        "audit_entries",
    ]
    for name, text in _SECTIONS:
        first_cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        documented = {column for cell in first_cells for column in re.findall(r"`(\w+)`", cell)}

        def columns(uow: UnitOfWork, name: str = name) -> set[str]:
            return {column["name"] for column in inspect(uow.samples._connection).get_columns(name)}

        assert documented == await database.run(columns), name


@pytest.mark.parametrize(("title", "query"), _QUERIES, ids=[title[:40] for title, _ in _QUERIES])
async def test_every_example_answers(database: Database, title: str, query: str) -> None:
    await database.run(_fill)
    assert await database.run(lambda uow: _ask(uow, query)), title


async def test_the_tokens_of_the_view_are_exact(database: Database) -> None:
    assert await _answer(database, "Which model used how many tokens") == [
        ["meta/llama", "aws", 200, 200],
        ["meta/llama", "gcp", 50, 50],
    ]


async def test_full_caches_are_found(database: Database) -> None:
    assert await _answer(database, "When did the KV cache run full") == [
        ["2026-11-22 14:03", "llama@aws-1", 0.9, 3],
        ["2026-11-22 14:03", "llama@gcp-1", 0.9, 3],
    ]


async def test_use_is_told_in_quotients(database: Database) -> None:
    assert [row[3:] for row in await _answer(database, "How well was each engine used")] == [[1, 3, 1], [1, 3, 1]]


async def test_tenants_are_told_from_their_requests(database: Database) -> None:
    assert await _answer(database, "Which tenant waited how long") == [["acme", "meta/llama", 1, 0.5, 1.5, 0.25]]


async def test_restarts_are_counted(database: Database) -> None:
    assert await _answer(database, "Which engines restarted") == [["llama@aws-1", 1], ["llama@gcp-1", 1]]


async def test_events_and_audit_make_one_story(database: Database) -> None:
    query = next(query for question, query in _QUERIES if "What went wrong" in question)
    await database.run(_fill)
    rows = await database.run(lambda uow: _ask(uow, query))
    assert [tuple(row)[1:4] for row in rows] == [
        ("audit", "operator:ann", "drain"),
        ("event", "system", "engine_failed"),
    ]


async def test_the_views_intervals_are_in_seconds(database: Database) -> None:
    await database.run(_fill)
    query = "SELECT interval_seconds FROM engine_intervals WHERE engine_id = 'llama@gcp-1' ORDER BY until_at"
    rows = await database.run(lambda uow: _ask(uow, query))
    assert [_plain(row[0]) for row in rows] == [None, 60, None]
