"""What history keeps of a reading: what is unknown stays unknown."""

from controlplane.fleet.inside import EngineInside, InsideState, RecomputeBill, ResidencySummary, StepTotals
from controlplane.fleet.samples import engine_sample
from controlplane.fleet.sources import Source
from tests.support.fleet import at, reported


def test_an_engine_that_tells_nothing_from_inside() -> None:
    sample = engine_sample(reported(), at(0), "gcp-1", "gcp", "gcp-west", 2)
    assert (sample.inside_steps_total, sample.busy_seconds_total, sample.recompute_tokens_total) == (None, None, None)
    assert (sample.kv_headroom_tokens, sample.resident_chunks_count, sample.inflight_count) == (None, None, 2)


def test_the_bills_of_all_tenants_are_one_and_what_one_does_not_tell_is_not_guessed() -> None:
    bills = (
        RecomputeBill("acme", 100, 2e9, None, Source.ASSUMED),
        RecomputeBill("", 20, 1e9, 0.5, Source.MEASURED),
    )
    steps = StepTotals(10, 300, 70, 40, busy_seconds=2.5)
    report = reported(
        recompute=bills,
        inside=EngineInside(InsideState.ACTIVE, steps=steps),
        residency=ResidencySummary(3, 12, 20, 1, complete=True),
    )
    sample = engine_sample(report, at(0), "gcp-1", "gcp", "gcp-west", None, 5000)
    assert (sample.recompute_tokens_total, sample.recompute_flops_total) == (120, 3e9)
    assert sample.recompute_seconds_total is None
    assert (sample.inside_steps_total, sample.inside_running_total, sample.busy_seconds_total) == (10, 40, 2.5)
    assert (sample.prefill_tokens_total, sample.decode_tokens_total) == (300, 70)
    assert (sample.kv_headroom_tokens, sample.resident_chunks_count) == (5000, 12)
