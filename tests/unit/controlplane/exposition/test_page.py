"""The control plane's page: what Prometheus reads of it, held against docs/metrics.md and the rules of exposition."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from controlplane.exposition.catalogue import ENTRIES, Kind
from controlplane.exposition.daemon_figures import (
    DaemonFigures,
    GatewayFigures,
    PrefixFigures,
    SessionFigures,
    WriterFigures,
)
from controlplane.exposition.page import MetricsPage
from controlplane.fleet.hardware import (
    DeviceHealth,
    Fault,
    KvHeadroom,
    MemoryLedger,
    MemoryPortion,
    MemoryUse,
)
from controlplane.fleet.inside import EngineInside, InsideState, RecomputeBill, ResidencySummary, StepTotals
from controlplane.fleet.jobs import JobRun, JobState
from controlplane.fleet.observed import Ceiling, Device, EngineCounters, NodeFacts, NodeLocation, Severity
from controlplane.fleet.requests import RequestEnd
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.fleet.sources import Source
from controlplane.policies.decision import Admit, Refuse
from controlplane.runtime.engine_totals import EngineTotals
from controlplane.runtime.request_counts import Place, RequestCounts
from controlplane.services.describe_server import DaemonFacts
from tests.support.clock import START
from tests.support.fleet import Timeline, desired, enrolled, opened, placed, report, reported

DOCS = Path(__file__).parents[4] / "docs" / "metrics.md"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
HOSTILE = 'a"b\\c\nd{e="f"} é'
DEVICE = Device("cuda:0", "H200", "cuda", ceilings=(Ceiling("bf16", 9e14, 4.8e12, Source.TABLE),))


def busy(tokens: int = 10, **changes: Any) -> Any:
    """An engine that tells everything that one can tell."""
    counted = dict.fromkeys(EngineCounters.__dataclass_fields__, tokens)
    counters = EngineCounters(**{**counted, "ttft_seconds": None, "inter_token_seconds": None})  # type: ignore[arg-type]
    fields = {
        "dtype": "bf16",
        "device_ids": ("cuda:0",),
        "counters": counters,
        "inside": EngineInside(InsideState.ACTIVE, steps=StepTotals(busy_seconds=float(tokens))),
        "recompute": (RecomputeBill("acme", tokens, 1.0 * tokens, 0.5 * tokens, Source.MEASURED),),
        "residency": ResidencySummary(1, 7, 7, 0, complete=True),
    }
    return reported(**{**fields, **changes})


def snapshot(provider: str = "gcp", **changes: Any) -> FleetSnapshot:
    node = enrolled(location=NodeLocation(provider, "west"))
    fleet = Timeline(desired([node], [placed()]))
    fleet.step(0, replace(opened("gcp-1", 0), facts=NodeFacts(boot_id="b1", devices=(DEVICE,))))
    memory = MemoryLedger(
        "cuda:0",
        START,
        100,
        (MemoryPortion(MemoryUse.WEIGHTS, 60, Source.MEASURED, "llama@gcp-1"),),
        (KvHeadroom("llama@gcp-1", 10, 5, None, Source.MEASURED),),
    )
    fault = Fault("xid", Severity.ERROR, "it fell off the bus", "reboot")
    told = replace(report("gcp-1", 1, busy(**changes)), memory=(memory,))
    return fleet.step(1, replace(told, health=(DeviceHealth("cuda:0", START, faults=(fault,)),)))


def requests(tenant: str = "acme") -> RequestCounts:
    counts = RequestCounts()
    counts.decided("llama", Admit(("a:1",), ("e",), "llama"), 0.001)
    counts.decided("other", Refuse(404, "model_not_found", ""), 0.0)
    ended = RequestEnd("r", START, "POST", "/v1", 200, tenant, duration_seconds=1.0, first_byte_seconds=0.1)
    counts.ended("llama", Place("gcp", "west"), ended)
    return counts


def figures(fleet: FleetSnapshot, counts: RequestCounts | None = None) -> DaemonFigures:
    run = JobRun("sample engines", 10.0, last_duration_seconds=0.1, last_succeeded_at=START)
    return DaemonFigures(
        facts=DaemonFacts("b", "1.0", 3, START, "sqlite", ""),
        now=fleet.at,
        snapshot=fleet,
        inflight={"llama@gcp-1": 2},
        forgotten_total=0,
        requests=counts or requests(),
        gateway=GatewayFigures(up=True, restarts_total=0),
        sessions=SessionFigures(1, 1, 5, {"start": 1}, {"succeeded": 1}),
        prefixes=PrefixFigures(1, 7, 0),
        database_up=True,
        writers={"samples": WriterFigures(3, 0)},
        events={Severity.INFO: 4},
        jobs=(JobState(run, "", None),),
    )


class Told:
    """A page, read as Prometheus reads it."""

    def __init__(self, text: str, kind: str) -> None:
        parse = openmetrics_families if "openmetrics" in kind else text_string_to_metric_families
        self.families = list(parse(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        [found] = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        return float(found)

    def labels(self, name: str, label: str) -> set[str]:
        return {sample.labels[label] for sample in self.samples if sample.name == name}


async def told(
    made: DaemonFigures, accept: str = "", totals: EngineTotals | None = None, *, tenants: bool = True
) -> Told:
    kind, body = await MetricsPage(lambda: made, totals or EngineTotals(), tenants=tenants).make(accept)
    return Told(body.decode(), kind)


@pytest.mark.parametrize("accept", ["", OPENMETRICS, "text/plain;version=0.0.4"])
async def test_everything_of_the_catalogue_is_exported_as_it_says_and_nothing_else(accept: str) -> None:
    page = await told(figures(snapshot()), accept)
    suffixes = {Kind.COUNTER: "_total", Kind.INFO: "_info"} if accept == OPENMETRICS else {Kind.COUNTER: "_total"}
    expected = {entry.name.removesuffix(suffixes.get(entry.kind, "")): entry for entry in ENTRIES}
    assert {family.name for family in page.families} == set(expected)
    for family in page.families:
        entry = expected[family.name]
        plain = "gauge" if entry.kind is Kind.INFO and accept != OPENMETRICS else entry.kind.value
        assert (family.type, family.documentation) == (plain, entry.meaning)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(entry.labels), sample.name


def test_the_document_has_the_same_tables() -> None:
    own = DOCS.read_text().partition("\n## The control plane\n")[2].partition("\n## The agent\n")[0]
    rows = re.findall(r"(?m)^\| `([a-z0-9_]+)` \| (\w+) \| ([a-z, ]*) \| (.*) \|$", own)
    labels = {entry.name: ", ".join(entry.labels) for entry in ENTRIES}
    assert rows == [(entry.name, entry.kind.value, labels[entry.name], entry.meaning) for entry in ENTRIES]


def test_names_follow_the_conventions() -> None:
    """What promtool's linter asks for."""
    for entry in ENTRIES:
        assert re.fullmatch(r"(stoker|process)_[a-z0-9_]+", entry.name)
        assert (entry.kind is Kind.COUNTER) == entry.name.endswith("_total"), entry.name
        assert (entry.kind is Kind.INFO) == entry.name.endswith("_info"), entry.name
        assert not re.search(r"_(ms|millis|kb|mb|minutes|hours|percent|count|sum|bucket)(_total)?$", entry.name)
        assert not {"job", "instance", "le", "engine", "node"} & set(entry.labels), entry.name
        assert entry.meaning.endswith(".")
        if entry.kind is Kind.HISTOGRAM:
            assert entry.name.endswith("_seconds")


async def test_figures_are_summed_by_model_and_place() -> None:
    page = await told(figures(snapshot()))
    group = {"model": "llama", "provider": "gcp", "region": "west"}
    assert page.value("stoker_kv_used_tokens", **group) == 100
    assert page.value("stoker_kv_headroom_tokens", **group) == 5
    assert page.value("stoker_requests_inflight", **group) == 2
    assert page.value("stoker_engines", **group, state="ready") == 1
    assert page.value("stoker_engines", **group, state="failed") == 0
    assert page.value("stoker_peak_flops_per_second", **group) / page.value("stoker_peak_bytes_per_second") == 187.5
    assert page.value("stoker_device_memory_bytes", use="weights") == 60
    assert page.value("stoker_device_faults", severity="error") == 1
    assert page.value("stoker_request_duration_seconds_bucket", model="llama", le="1.0") == 1


async def test_what_nobody_tells_is_not_there() -> None:
    silent = snapshot(gauges=reported().gauges.__class__(), residency=None)
    names = {sample.name for sample in (await told(figures(silent))).samples}
    assert "stoker_requests_waiting" not in names
    assert "stoker_resident_chunks" not in names


async def test_counters_do_not_fall_when_an_engine_restarts() -> None:
    totals, seen = EngineTotals(), []
    for tokens, instance in ((100, "i1"), (150, "i1"), (5, "i2"), (9, "i2")):
        page = await told(figures(snapshot(instance_id=instance, counters=busy(tokens).counters)), totals=totals)
        seen.append(page.value("stoker_generated_tokens_total"))
    assert seen == [0, 50, 55, 59]
    assert page.value("stoker_engine_restarts_total") == 1


async def test_a_model_that_nobody_deployed_is_no_label() -> None:
    page = await told(figures(snapshot(model="made-up")))
    assert page.labels("stoker_engines", "model") == {"other"}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
async def test_hostile_names_are_values_and_nothing_more(accept: str) -> None:
    page = await told(figures(snapshot(provider=HOSTILE), requests(tenant=HOSTILE)), accept)
    assert page.labels("stoker_engines", "provider") == {HOSTILE}
    assert page.labels("stoker_tenant_requests_total", "tenant") == {HOSTILE}
    page = await told(figures(snapshot(provider="x" * 5000 + "\ud800")), accept)
    assert page.labels("stoker_engines", "provider") == {"x" * 200}


async def test_tenants_are_named_only_when_they_may_be() -> None:
    page = await told(figures(snapshot()), tenants=False)
    assert "stoker_tenant_requests_total" not in {sample.name for sample in page.samples}


async def test_a_lost_nodes_figures_are_left_out() -> None:
    fleet = snapshot()
    lost = {name: replace(node, lost=True) for name, node in fleet.nodes.items()}
    page = await told(figures(replace(fleet, nodes=lost, at=START + timedelta(minutes=5))))
    assert page.value("stoker_nodes", state="lost") == 1
    assert page.value("stoker_engines", state="ready") == 1
    assert "stoker_kv_used_tokens" not in {sample.name for sample in page.samples}
