"""deploy/grafana/stoker-history.json: every query runs on PostgreSQL as the reader, and has an answer on a small history."""

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controlplane.storage.database import Database
from controlplane.storage.views import READER_ROLE, VIEWS
from tests.contract.storage.history_rows import fill

_DASHBOARD = json.loads((Path(__file__).parents[3] / "deploy" / "grafana" / "stoker-history.json").read_text())
_FROM, _TO = "'2026-11-22T00:00:00Z'", "'2026-11-23T00:00:00Z'"
_VIEWS = {view.name for view in VIEWS}


def _queries() -> dict[str, str]:
    found = {panel["title"]: panel["targets"][0]["rawSql"] for panel in _DASHBOARD["panels"]}
    found |= {each["name"]: each["target"]["rawSql"] for each in _DASHBOARD["annotations"]["list"]}
    return found | {each["name"]: each["query"] for each in _DASHBOARD["templating"]["list"] if each["type"] == "query"}


def _as_grafana_sends_it(sql: str) -> str:
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {_FROM} AND {_TO}", sql)
    sql = sql.replace("$provider", "'gcp','aws'").replace("$model", "'meta/llama'")
    assert "$" not in sql
    return sql


def test_panels_are_told_apart_and_explained() -> None:
    panels = _DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    for place, panel in zip(places, panels, strict=True):
        assert panel["description"].endswith(".")
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"]["uid"] == panel["targets"][0]["datasource"]["uid"] == "${datasource}"
    corners = {(place["x"], place["y"]) for place in places}
    assert len(corners) == len(places)


def test_only_the_documented_views_are_asked() -> None:
    for title, sql in _queries().items():
        defined = set(re.findall(r"(\w+) AS \(", sql))
        assert set(re.findall(r"(?:FROM|JOIN) (\w+)", sql)) - defined <= _VIEWS, title


@pytest.mark.postgres
async def test_every_query_runs_as_the_reader(postgres_cluster: Any, postgres_template: str) -> None:
    name = postgres_cluster.create_database(template=postgres_template)
    database = Database.open(postgres_cluster.url(name))
    await database.run(fill)
    await database.close()
    with psycopg.connect(postgres_cluster.url(name), autocommit=True) as connection:
        connection.execute(f"SET ROLE {READER_ROLE}")
        for title, sql in _queries().items():
            rows = connection.execute(_as_grafana_sends_it(sql).encode()).fetchall()
            assert rows or title in ("provider", "model"), title  # these two look back from now
    postgres_cluster.drop_database(name)
