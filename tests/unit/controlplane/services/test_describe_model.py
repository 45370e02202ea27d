"""A model's engines, summed up; a sum with an unknown part is unknown."""

from controlplane.fleet.observed import EngineGauges, EngineReport, EngineState
from controlplane.services.describe_model import ModelDescription, describe_model
from tests.support.fleet import Timeline, at, desired, enrolled, opened, placed, reported

ON_AWS = reported("llama@aws-1", gauges=EngineGauges(500, 50, 1, 3))


def summed(*on_gcp: EngineReport) -> ModelDescription:
    wanted = desired([enrolled("gcp-1"), enrolled("aws-1")], [placed("llama@gcp-1"), placed("llama@aws-1")])
    line = Timeline(wanted)
    line.step(0, opened("gcp-1", 0, *on_gcp), opened("aws-1", 0, ON_AWS))
    return describe_model(line.snapshot, "llama", at(0))


def test_known_parts_add_up() -> None:
    assert summed(reported("llama@gcp-1", gauges=EngineGauges(1000, 100, 1, 0))) == ModelDescription(
        2, 2, 1500, 150, 3, ("aws", "gcp")
    )


def test_an_unknown_part_of_an_engine_that_is_up_makes_the_sum_unknown() -> None:
    found = summed(reported("llama@gcp-1", gauges=EngineGauges(kv_capacity_tokens=1000)))
    assert (found.kv_capacity_tokens, found.kv_used_tokens, found.waiting) == (1500, None, None)


def test_an_engine_that_is_not_up_holds_nothing() -> None:
    found = summed(reported("llama@gcp-1", state=EngineState.STARTING, gauges=EngineGauges()))
    assert (found.engines_total, found.engines_routable, found.kv_capacity_tokens) == (2, 1, 500)


def test_a_model_of_which_nothing_runs() -> None:
    line = Timeline(desired([enrolled("gcp-1")], [placed()]))
    assert describe_model(line.snapshot, "llama", at(0)) == ModelDescription(0, 0, None, None, None, ())
