"""The lines of `stoker engine ID` about memory, the inside and the bill: what is unknown is a dash, never a zero."""

from collections.abc import Iterable
from dataclasses import replace

from console.cli.engine_facts import agreement, bill_text, inside_facts, inside_text, memory_facts
from console.model.fleet_view import EngineRow, FleetView
from console.model.format import UNKNOWN
from console.model.inside import BillRow, InsideRow, InsideState, ResidencyRow
from tests.fakes import fleet


def measured() -> tuple[EngineRow, FleetView]:
    view = fleet.mixed()
    row = next(each for each in view.engines.values() if view.nodes[each.node].memory and each.recompute)
    return row, view


def without_anything() -> tuple[EngineRow, FleetView]:
    row, view = measured()
    host = replace(view.nodes[row.node], memory=())
    bare = replace(row, inside=None, residency=None, recompute=(), adapters=())
    return bare, replace(view, nodes={**view.nodes, host.name: host})


def text(facts: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in facts)


def test_memory_says_what_it_holds_how_old_it_is_and_who_says_so() -> None:
    told = text(memory_facts(*measured()))
    for words in (
        "old",
        "weights (measured)",
        "KV cache (measured)",
        "free (measured)",
        "KV headroom",
        "requests more",
    ):
        assert words in told


def test_what_is_not_known_is_a_dash() -> None:
    row, view = without_anything()
    assert text(memory_facts(row, view)) == f"memory: {UNKNOWN}"
    told = dict(inside_facts(row, view))
    assert told == {"inside": "nothing listens inside this engine", "recomputed": UNKNOWN}


def test_the_bill_is_told_in_all_and_by_tenant_and_others_are_not_a_tenant() -> None:
    row, view = measured()
    bills = (BillRow("acme", 3000, 2e12, 1.5, "measured"), BillRow("", 500, None, None, ""))
    told = text(inside_facts(replace(row, recompute=bills), view))
    assert f"recomputed: 3.5k tokens, {UNKNOWN}, {UNKNOWN}" in told, "a sum with an unknown part is unknown"
    assert "acme: 3.0k tokens, 2.0 TFLOP, 1.5 s (measured)" in told
    assert f"(other tenants): 500 tokens, {UNKNOWN}, {UNKNOWN}" in told


def test_a_bill_whose_cost_nobody_measured() -> None:
    assert bill_text(BillRow("acme", 10, None, None, "measured")).count(UNKNOWN) == 2
    assert "measured" not in bill_text(BillRow("acme", 10, 1e9, None, "measured")), (
        "there is nothing that it would be of"
    )
    assert "(measured)" in bill_text(BillRow("acme", 10, 1e9, 0.5, "measured"))


def test_why_a_plug_in_is_not_active_is_said() -> None:
    row = InsideRow(InsideState.DEGRADED, "no step statistics", "0.1.0", None, None, 0)
    assert inside_text(row) == "degraded, plug-in 0.1.0: no step statistics"
    assert inside_text(replace(row, state=InsideState.SILENT, note="", plugin_version="")) == "silent"


def test_dropped_records_adapters_and_lost_events_are_shown_when_there_are_any() -> None:
    row, view = measured()
    inside = InsideRow(InsideState.ACTIVE, "", "0.1.0", None, view.now, 7)
    lossy = replace(row, inside=inside, residency=ResidencyRow(1, 12, 6, complete=False), adapters=("law", "med"))
    told = dict(inside_facts(lossy, view))
    assert (told["records dropped"], told["adapters"]) == ("7", "law, med")
    assert "12 chunks resident, incomplete" in told["prefixes"]
    whole = replace(
        lossy, inside=replace(inside, records_dropped_total=0), residency=ResidencyRow(1, 12, 6, complete=True)
    )
    told = dict(inside_facts(replace(whole, adapters=()), view))
    assert not {"records dropped", "adapters"} & told.keys()
    assert "incomplete" not in told["prefixes"]


def test_whether_the_control_plane_knows_the_same() -> None:
    row, _ = measured()
    same = replace(row, residency_agrees=True, residency_held_chunks_count=12)
    assert agreement(same) == "the control plane knows 12 of them"
    assert "they differ" in agreement(replace(same, residency_agrees=False))
    assert "unknown" in agreement(replace(same, residency_agrees=None, residency_held_chunks_count=None))
