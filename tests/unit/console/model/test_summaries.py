"""Sums: what is unknown is not counted as nothing."""

from dataclasses import replace

from console.model.fleet_view import Trust
from console.model.summaries import totals_by_model, totals_by_node, totals_by_provider, totals_of
from tests.fakes import fleet


def test_nothing_known_is_none_and_not_zero() -> None:
    totals = totals_of(fleet.unknown().engines.values())
    assert (totals.kv_used_tokens, totals.kv_capacity_tokens, totals.running, totals.waiting) == (
        None,
        None,
        None,
        None,
    )
    assert (totals.kv_used_ratio, totals.kv_unknown_count, totals.trust) == (None, 1, Trust.UNKNOWN)


def test_no_engine_at_all() -> None:
    totals = totals_of(())
    assert (totals.engines, totals.trust, totals.kv_used_ratio) == (0, None, None)


def test_the_ratio_counts_only_engines_that_tell_both_parts() -> None:
    one, other = fleet.small().engines.values()
    halves = [
        replace(one, kv_capacity_tokens=100, kv_used_tokens=50),
        replace(other, kv_capacity_tokens=900, kv_used_tokens=None, trust=Trust.STALE),
    ]
    totals = totals_of(halves)
    assert (totals.kv_used_ratio, totals.kv_unknown_count, totals.trust) == (0.5, 1, Trust.STALE)


def test_every_engine_is_in_one_group_of_each_kind() -> None:
    view = fleet.mixed()
    for groups in (totals_by_node(view), totals_by_model(view), totals_by_provider(view)):
        assert sum(each.engines for each in groups.values()) == len(view.engines)
    assert set(totals_by_node(view)) == set(view.nodes)
    assert totals_by_node(fleet.empty()) == {}
