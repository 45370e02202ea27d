"""The recompute bill: who is named in it, what is not known in it, and that no total ever falls."""

from hypothesis import given
from hypothesis import strategies as st

from node_agent.inside.recompute import BILLS_MAX, ROOTS_MAX, RecomputeTotals, flops_of
from node_agent.session.inside import ModelShape, StepTotals
from node_agent.session.values import Source

SHAPE = ModelShape(parameters=1000, layers=2, attention_heads=4, head_size=8)
SPEED = StepTotals(prefill_flops=2e6, prefill_seconds=4.0)


def test_without_the_models_shape_only_tokens_are_known() -> None:
    totals = RecomputeTotals()
    totals.add(1, "acme", 16, 32)
    [bill] = totals.bills(None, SPEED)
    assert (bill.tenant, bill.tokens, bill.flops, bill.seconds) == ("acme", 16, None, None)
    [bill] = totals.bills(SHAPE, None)
    assert bill.flops == 2 * 1000 * 16 + 4 * 2 * 4 * 8 * 16 * 32
    assert bill.seconds is None
    [bill] = totals.bills(SHAPE, SPEED)
    assert bill.flops is not None
    assert bill.seconds == bill.flops * 2e-6
    assert bill.seconds_source is Source.MEASURED


def test_a_mixture_of_experts_pays_for_its_active_parameters_only() -> None:
    assert flops_of(ModelShape(1000, 100, 2, None, 4, 4, 8), 3, 0) == 2 * 100 * 3
    assert flops_of(ModelShape(parameters=1000), 3, 0) is None


@given(st.lists(st.tuples(st.integers(1, 100), st.floats(0.1, 10.0)), min_size=1, max_size=20))
def test_no_total_falls_however_the_engines_speed_changes(steps: list[tuple[int, float]]) -> None:
    totals, seconds = RecomputeTotals(), 0.0
    for tokens, speed in steps:
        totals.add(1, "acme", tokens, tokens)
        [bill] = totals.bills(SHAPE, StepTotals(prefill_flops=1e6 * speed, prefill_seconds=1.0))
        assert bill.seconds is not None
        assert bill.seconds > seconds
        seconds = bill.seconds


def test_the_largest_tenants_are_named_and_the_rest_is_told_together() -> None:
    totals = RecomputeTotals()
    for number in range(100):
        totals.add(number, f"t{number:03d}", number + 1, 0)
    totals.add(None, "", 5, 0)
    bills = totals.bills(None, None)
    assert len(bills) == BILLS_MAX
    assert [bill.tenant for bill in bills[:2]] == ["t099", "t098"]
    assert bills[-1].tenant == ""
    assert sum(bill.tokens for bill in bills) == sum(range(101)) + 5


def test_a_tenants_adapters_come_together_and_a_name_may_come_late() -> None:
    totals = RecomputeTotals()
    totals.add(1, "", 5, 0)
    totals.add(2, "acme", 7, 0)
    assert {bill.tenant: bill.tokens for bill in totals.bills(None, None)} == {"acme": 7, "": 5}
    totals.name(1, "acme")
    assert {bill.tenant: bill.tokens for bill in totals.bills(None, None)} == {"acme": 12}


def test_it_is_bounded_and_loses_no_token() -> None:
    totals = RecomputeTotals()
    for root in range(2 * ROOTS_MAX):
        totals.add(root, f"t{root}", 1, 0)
    assert sum(bill.tokens for bill in totals.bills(None, None)) == 2 * ROOTS_MAX
