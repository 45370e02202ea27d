"""Sorting, filtering, grouping."""

from dataclasses import replace

import pytest

from console.model.overview import moment_of
from console.model.select import (
    ENGINE_SORTS,
    NODE_SORTS,
    Filter,
    events_of,
    grouped,
    node_memory_bytes,
    sorted_engines,
    sorted_nodes,
)
from tests.fakes import fleet

VIEW = fleet.mixed()


@pytest.mark.parametrize("by", ENGINE_SORTS)
def test_every_engine_sort_puts_the_unknown_last_both_ways(by: str) -> None:
    engines = [*VIEW.engines.values(), *fleet.unknown().engines.values()]
    for descending in (False, True):
        values = [ENGINE_SORTS[by](row) for row in sorted_engines(engines, by, descending=descending)]
        known = [value for value in values if value is not None]
        assert values == known + [None] * (len(values) - len(known))
        assert known == sorted(known, reverse=descending)


@pytest.mark.parametrize("by", NODE_SORTS)
def test_every_node_sort_keeps_all_rows(by: str) -> None:
    nodes = [*VIEW.nodes.values(), *fleet.unknown().nodes.values()]
    assert {row.name for row in sorted_nodes(nodes, by)} == {row.name for row in nodes}


def test_ties_stay_in_the_order_of_their_names_in_both_directions() -> None:
    rows = [replace(row, running=1) for row in VIEW.engines.values()]
    up, down = sorted_engines(rows, "running"), sorted_engines(reversed(rows), "running", descending=True)
    assert up == down


def test_filters() -> None:
    engines = list(VIEW.engines.values())
    assert not Filter("  ")
    assert Filter("").engines(engines) == engines
    assert {row.provider for row in Filter("provider:gcp").engines(engines)} == {"gcp"}
    assert {row.provider for row in Filter("!provider=GCP").engines(engines)} == {"oci", "aws", "azure", "crusoe"}
    assert [row.node for row in Filter("state:failed gcp").engines(engines)] == ["gcp-2"]
    assert [row.node for row in Filter("^aws-[12]$").engines(engines)] == ["aws-1", "aws-2"]
    assert Filter("(unfinished").engines(engines) == []
    assert Filter("nosuchfield:x").engines(engines) == []
    assert [row.name for row in Filter("state:cordoned").nodes(VIEW.nodes.values(), moment_of(VIEW))] == ["aws-2"]
    assert len(Filter("pool:chat").nodes(VIEW.nodes.values(), moment_of(VIEW))) == len(VIEW.nodes)
    assert [row.kind for row in Filter("severity:error").events(VIEW.events)] == ["engine_failed", "device_fault"]


def test_nodes_are_found_by_the_word_of_their_state_and_by_a_cordon_that_another_hides() -> None:
    nodes = {**VIEW.nodes, "aws-2": replace(VIEW.nodes["aws-2"], connected=False)}

    def found(text: str) -> list[str]:
        return [row.name for row in Filter(text).nodes(nodes.values(), moment_of(VIEW))]

    assert found("state:stale") == ["crusoe-3"]
    assert found("state:cut") == found("state:cordoned") == ["aws-2"]
    assert found("!state:up") == ["oci-2", "aws-2", "crusoe-3"]
    assert found("state:lost") == []


def test_groups_come_in_the_order_of_their_names() -> None:
    groups = grouped(VIEW.engines.values(), lambda row: row.provider)
    assert list(groups) == ["aws", "azure", "crusoe", "gcp", "oci"]
    assert sum(map(len, groups.values())) == len(VIEW.engines)


def test_memory_of_a_node_is_unknown_when_a_devices_is() -> None:
    node = fleet.node("n", "gcp", "x", "NVIDIA L40S", 2)
    assert node_memory_bytes(node) == 96 * 2**30
    assert (
        node_memory_bytes(replace(node, devices=(node.devices[0], replace(node.devices[1], memory_bytes=None)))) is None
    )
    assert node_memory_bytes(replace(node, devices=())) is None


def test_events_of_a_subject() -> None:
    assert [row.event_id for row in events_of(VIEW.events, node="aws-2")] == [3]
    assert events_of(VIEW.events, kind="engine_failed", engine_id="no such engine") == []
    assert len(events_of(VIEW.events)) == len(VIEW.events)
