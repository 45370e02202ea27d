"""docs/history.md is true: its views and columns are those of the database, and its queries answer, on both databases alike."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import inspect, text

from controlplane.storage import engines
from controlplane.storage.asking.asker import SqlAsker
from controlplane.storage.asking.question import Answer, Question
from controlplane.storage.database import Database
from controlplane.storage.database_url import parse_url
from controlplane.storage.unit_of_work import UnitOfWork
from controlplane.storage.views import VIEWS
from tests.contract.storage.history_rows import fill

_TEXT = (Path(__file__).parents[3] / "docs" / "history.md").read_text()
_QUERIES = dict(
    re.findall(r"^\*\*([^*]+)\*\*[^`]*```sql\n(.+?)```", _TEXT.partition("## Questions")[2], re.DOTALL | re.MULTILINE)
)
_SECTIONS = re.findall(r"^### `(\w+)`\n(.+?)\n\n(.+?)(?=^#)", _TEXT, re.DOTALL | re.MULTILINE)
EXPECTED: dict[str, list[list[Any]]] = {
    "Which cloud wasted most GPU-hours last week?": [
        ["aws", "H100", 2.0, 0.25, 1.75, 5.25, "EUR"],
        ["gcp", "H100", 1.0, 0.5, 0.5, 1.0, "USD"],
    ],
    "What does a million tokens cost, by provider?": [["aws", 8000.0, 750.0, "EUR"], ["gcp", 2000.0, 1000.0, "USD"]],
    "When did the KV cache run full, and where?": [["22 14:05:00", "llama@gcp-1", "gcp-1", 0.95, 3.0, 3.0]],
    "Who caused it?": [["beta", "meta/llama", 1.0, 2.0, 9010.0], ["acme", "meta/llama", 1.0, 10.0, 1010.0]],
    "What did the drain at 14:05 cost?": [["operator:ann", "llama@gcp-1", 1.0, 0.0208, 1.0, 0.0]],
    "Which tenant pays the recompute bill?": [["acme", 100.0, 36.0, 0.01, 0.1]],
    "What was the 99th percentile of the time to first token, by hour?": [["22 14:00:00", 0.5793, 202.0]],
    "What did we refuse, and why?": [["acme", "meta/llama", "no_capacity", 2.0, "22 14:05:00", "22 14:05:00"]],
    "What share of the requests that came was refused, lost or failed?": [["meta/llama", 10.0, 0.2, 0.1, 0.1667]],
    "Which leases end within 30 days, and how busy are their devices?": [
        ["l1", "gcp", "H100", 1.0, "running", 10.0, 0.5]
    ],
    "Which engines are stragglers?": [["meta/llama", "llama@gcp-1", 0.4, 0.22]],
    "Which engines restarted, and how often?": [["llama@gcp-1", "gcp-1", 2.0, 1.0]],
    "When did we lose capacity, and when did it come back?": [
        ["22 14:05:05", "lost", "gcp-1", "llama@gcp-1", "llama@gcp-1 is draining"],
        ["22 14:05:40", "lost", "gcp-1", "llama@gcp-1", "died"],
        ["22 14:07:00", "gained", "gcp-1", "llama@gcp-1", "llama@gcp-1 is ready"],
    ],
    "Which model used how many tokens, at which provider?": [
        ["meta/llama", "aws", 6000.0, 2000.0],
        ["meta/llama", "gcp", 1500.0, 500.0],
    ],
    "How well was each engine used: batch size, arithmetic intensity, prefix hits, time with work?": [
        ["llama@aws-1", "aws", "us-east-1", 4.0, 3.0, 0.0, 0.25],
        ["llama@gcp-1", "gcp", "europe-west4", 8.0, 3.0, 0.25, 0.5],
    ],
    "Which tenant waited how long, and how much of its prompts came from the prefix cache?": [
        ["acme", "meta/llama", 20.0, 0.5, 0.2, 0.25],
        ["beta", "meta/llama", 2.0, None, None, 0.0],
    ],
    "Which requests of a tenant took longest, and why?": [
        ["r2", "llama@gcp-1", "22 14:01:20", "completed", 100.0, 10.0, 0.5, 1.5, 20.0],
        ["r1", "llama@gcp-1", "22 14:01:02", "completed", 100.0, 10.0, 0.5, 1.5, 2.0],
    ],
    "Where was the most work thrown away by preemption?": [["gcp-1", "meta/llama", 3.0, 0.95]],
    "Which engines could have a larger KV cache?": [["llama@gcp-1", 0.95, 200.0, 1000.0]],
    "Which devices ran hot or were slowed down?": [["aws-1", "0", "H100", 92.0, 60.0, 1.0]],
    "How many tokens did a kilowatt-hour make?": [["aws", 0.5, 4000.0], ["gcp", 0.5, 1000.0]],
    "Which nodes were away, or stood empty?": [["aws-1", "aws", 0.75, 0.5], ["gcp-1", "gcp", 1.0, 1.0]],
    "What is not as it is wanted, right now?": [["llama@gcp-1", "gcp-1", None, "running", None, ""]],
    "What went wrong around 14:05, and who had just done something?": [
        ["22 14:05:04", "audit", "operator:ann", "drain", "llama@gcp-1: 1 changed"],
        ["22 14:05:40", "event", "agent:gcp-1", "engine_backing_off", "died"],
        ["22 14:07:10", "event", "system", "job_failed", "a job failed"],
    ],
    "Who changed what this week, and what were they shown before?": [
        ["22 14:05:04", "operator:ann", "drain", "llama@gcp-1", "llama@gcp-1 drains", "1 changed"]
    ],
    "What did one engine do in its last ten minutes, reading by reading?": [
        ["22 14:00:10", "ready", None, 0.3, 2.0, 0.0, 20.0, 0.0],
        ["22 14:00:20", "ready", 10.0, 0.3, 2.0, 0.0, 20.0, 0.0],
    ],
}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%d %H:%M:%S}"
    return value if isinstance(value, str | None) else round(float(value), 4)


@pytest.fixture
async def asker(database: Database, database_url: str) -> SqlAsker:
    await database.run(fill)
    return SqlAsker(database_url)


async def _ask(asker: SqlAsker, sql: str) -> Answer:
    return await asker.ask(Question(sql, {}, 1000, 30.0))


def test_there_are_examples_enough_and_each_is_checked() -> None:
    assert len(_QUERIES) >= 18
    assert set(EXPECTED) == set(_QUERIES)


def test_every_view_and_column_is_documented_in_its_order_and_with_its_meaning() -> None:
    assert [name for name, _, _ in _SECTIONS] == [view.name for view in VIEWS]
    for view, (_, meaning, table) in zip(VIEWS, _SECTIONS, strict=True):
        assert meaning == f"{view.meaning[0].upper()}{view.meaning[1:]}.", view.name
        rows = [line for line in table.splitlines() if line.startswith("| `")]
        assert rows == [f"| `{column.name}` | {column.meaning} |" for column in view.columns], view.name


async def test_the_databases_views_are_those_and_tell_their_meaning(database: Database, asker: SqlAsker) -> None:
    def found(uow: UnitOfWork) -> dict[str, list[str]]:
        looked = inspect(uow.samples._connection)
        return {name: [str(it["name"]) for it in looked.get_columns(name)] for name in looked.get_view_names()}

    promised = {view.name: [column.name for column in view.columns] for view in VIEWS}
    assert await database.run(found) == promised
    listed = await _ask(
        asker, "SELECT view_name, column_name, column_meaning FROM view_columns ORDER BY view_name, position"
    )
    assert [row[:2] for row in listed.rows] == [
        (name, column) for name in sorted(promised) for column in promised[name]
    ]
    assert all(row[2] for row in listed.rows)


async def test_every_question_has_the_answer_that_the_history_holds(asker: SqlAsker) -> None:
    for question, sql in _QUERIES.items():
        answer = await _ask(asker, sql)
        assert [[_plain(value) for value in row] for row in answer.rows] == EXPECTED[question], question


@pytest.mark.postgres
async def test_a_bi_tools_login_reads_the_views_and_nothing_else(postgres_cluster: Any, postgres_template: str) -> None:
    """By the very commands of the page."""
    commands = re.findall(r"```sql\n(CREATE ROLE grafana.+?)```", _TEXT, re.DOTALL)[0]
    name = postgres_cluster.create_database(template=postgres_template)
    url = postgres_cluster.url(name)
    admin = engines.create(parse_url(url))
    with admin.begin() as connection:
        for command in commands.strip().split("\n"):
            connection.execute(text(command))
    with psycopg.connect(url.replace("stoker@", "grafana@"), autocommit=True) as login:
        for view in VIEWS:
            login.execute(f"SELECT * FROM {view.name} LIMIT 1").fetchall()  # noqa: S608 - a constant
        shown = [login.execute(f"SHOW {setting}").fetchone() for setting in ("statement_timeout", "timezone")]
        assert shown == [("30s",), ("UTC",)]
        for refused in ("SELECT * FROM api_keys", "SELECT * FROM rolled_engine_hours", "CREATE TABLE mine (n INTEGER)"):
            with pytest.raises(psycopg.Error, match=r"permission denied|read-only"):
                login.execute(refused)
    with admin.begin() as connection:
        connection.execute(text("DROP ROLE grafana"))
    admin.dispose()
    postgres_cluster.drop_database(name)
