"""Dashboards show what is exported: every metric that one names is in docs/metrics.md, and none names a data source."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "stoker-fleet.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPORTED = {
    (name, kind)
    for name, kind in re.findall(r"(?m)^\| `([a-z0-9_]+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text())
}
SERIES = {
    f"{name}{suffix}"
    for name, kind in EXPORTED
    for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
}


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_shows_what_is_exported_in_a_unit(panel: dict[str, Any]) -> None:
    for expression in expressions(panel):
        named = set(re.findall(r"\b(?:stoker|process)_[a-z0-9_]+", expression))
        assert named
        assert named <= SERIES
        assert expression.count("(") == expression.count(")")
        assert expression.count("{") == expression.count("}")
        for name in re.findall(r"(?:rate|increase)\((\w+)", expression):
            assert name.endswith(("_total", "_bucket")), f"{name} is no counter"
    assert panel["fieldConfig"]["defaults"]["unit"]


def test_the_one_who_looks_chooses_the_data_source() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    text = json.dumps(DASHBOARD)
    assert set(re.findall(r'"datasource": \{[^}]*"uid": "([^"]*)"', text)) == {"${datasource}"}
    assert set(re.findall(r"\$(\w+)", text.replace("${datasource}", ""))) <= {*variables, "__rate_interval", "__all"}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
