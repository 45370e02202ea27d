"""The agent's page, held against docs/metrics.md and the rules of exposition."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from node_agent.exposition.catalogue import ENTRIES, Kind
from node_agent.exposition.page import NodeFigures, page
from node_agent.session.facts import (
    Ceiling,
    Device,
    EngineCounters,
    EngineGauges,
    EngineState,
    EngineStatus,
    Histogram,
)
from node_agent.session.hardware import DeviceHealth, Fault, MemoryLedger, MemoryPortion, MemoryUse
from node_agent.session.inside import EngineInside, RecomputeBill, ResidencySummary, StepTotals
from node_agent.session.values import Severity, Source

DOCS = Path(__file__).parents[4] / "docs" / "metrics.md"
OPENMETRICS = "application/openmetrics-text"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
HISTOGRAM = Histogram((0.1, 1.0), (3, 2, 1), 4.5)
ENGINE = EngineStatus(
    "llama@gpu-1",
    1,
    "i1",
    "llama",
    EngineState.READY,
    NOW,
    gauges=EngineGauges(100, 10, 1, 0),
    counters=EngineCounters(1, 2, 3, 4, 5, 6, 7, 8, 1e12, 1e9, HISTOGRAM, HISTOGRAM),
    inside=EngineInside(steps=StepTotals(busy_seconds=1.5)),
    recompute=(RecomputeBill("acme", 5, None, None, Source.ASSUMED),),
    residency=ResidencySummary(1, 4, 4, 0, complete=True),
)
HEALTH = DeviceHealth(
    "cuda:0",
    NOW,
    memory_used_bytes=7,
    temperature_celsius=70.0,
    power_watts=300.0,
    power_limit_watts=700.0,
    compute_clock_hertz=1.5e9,
    ecc_corrected_count=1,
    ecc_uncorrected_count=0,
    faults=(Fault("xid", Severity.ERROR, "m", "a", NOW),),
)
WHOLE: dict[str, Any] = {
    "version": "1.0",
    "node": "gpu-1",
    "connected": True,
    "spool_bytes": 4096,
    "engines": (ENGINE,),
    "devices": (Device("cuda:0", "H200", "cuda", ceilings=(Ceiling("bf16", 9e14, 4e12, Source.TABLE),)),),
    "health": (HEALTH,),
    "ledgers": (MemoryLedger("cuda:0", NOW, 100, (MemoryPortion(MemoryUse.FREE, 40, Source.MEASURED),)),),
}


def read(accept: str = "", **changes: Any) -> list[Any]:
    kind, body = page(NodeFigures(**{**WHOLE, **changes}), accept)
    parse = openmetrics_families if "openmetrics" in kind else text_string_to_metric_families
    return list(parse(body.decode()))


def samples(**changes: Any) -> dict[tuple[str, str], float]:
    """By name and engine or device."""
    told = [sample for family in read(**changes) for sample in family.samples]
    return {(each.name, each.labels.get("engine", each.labels.get("device", ""))): each.value for each in told}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_everything_of_the_catalogue_is_exported_and_nothing_else(accept: str) -> None:
    suffixes = {Kind.COUNTER: "_total", Kind.INFO: "_info"} if accept else {Kind.COUNTER: "_total"}
    expected = {entry.name.removesuffix(suffixes.get(entry.kind, "")): entry for entry in ENTRIES}
    families = read(accept)
    assert {family.name for family in families} == set(expected)
    for family in families:
        entry = expected[family.name]
        assert family.documentation == entry.meaning
        assert all(set(sample.labels) - {"le"} == set(entry.labels) for sample in family.samples)


def test_the_document_has_the_same_table() -> None:
    section = DOCS.read_text().partition("\n## The agent\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| `([a-z0-9_]+)` \| (\w+) \| ([a-z, ]*) \| (.*) \|$", section)
    assert rows == [(e.name, e.kind.value, ", ".join(e.labels), e.meaning) for e in ENTRIES]


def test_names_follow_the_conventions() -> None:
    for entry in ENTRIES:
        assert re.fullmatch(r"(stoker_agent|process)_[a-z0-9_]+", entry.name)
        assert (entry.kind is Kind.COUNTER) == entry.name.endswith("_total"), entry.name
        assert not {"job", "instance", "le"} & set(entry.labels), entry.name


def test_what_is_not_known_is_not_told() -> None:
    told = samples(engines=(EngineStatus("e", 1, "", "llama", EngineState.STARTING, NOW),), spool_bytes=None)
    assert ("stoker_agent_engine_state", "e") in told
    assert ("stoker_agent_engine_kv_used_tokens", "e") not in told
    assert ("stoker_agent_engine_prompt_tokens_total", "e") not in told
    assert ("stoker_agent_spool_bytes", "") not in told


def test_histograms_are_cumulative() -> None:
    [family] = [each for each in read() if each.name == "stoker_agent_engine_first_token_seconds"]
    buckets = [(each.labels["le"], each.value) for each in family.samples if each.name.endswith("_bucket")]
    assert buckets == [("0.1", 3), ("1.0", 5), ("+Inf", 6)]


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_hostile_names_are_values_and_nothing_more(accept: str) -> None:
    hostile = 'a"b\\c\nd{e="f"} é'
    engine = EngineStatus("e", 1, "", hostile, EngineState.READY, NOW)
    long = EngineStatus("e2", 1, "", "x" * 300 + "\ud800", EngineState.READY, NOW)
    [family] = [each for each in read(accept, engines=(engine, long)) if each.name == "stoker_agent_engine_state"]
    assert {sample.labels["model"] for sample in family.samples} == {hostile, "x" * 200}
