"""What counts as a step, and how long an engine was busy."""

from types import SimpleNamespace

from node_agent.vllm_plugins.step_sums import StepSums, added_up


def scheduler(running: int = 1, waiting: int = 0, flops: int = 0, reads: int = 0) -> SimpleNamespace:
    costs = SimpleNamespace(num_flops_per_gpu=flops, num_read_bytes_per_gpu=reads, num_write_bytes_per_gpu=1)
    return SimpleNamespace(
        num_running_reqs=running, num_waiting_reqs=waiting, num_skipped_waiting_reqs=0, perf_stats=costs
    )


def iteration(computed: int = 0, generated: int = 0, waits: tuple[float, ...] = ()) -> SimpleNamespace:
    return SimpleNamespace(
        prompt_token_stats=SimpleNamespace(computed=computed),
        num_generation_tokens=generated,
        num_preempted_reqs=0,
        time_to_first_tokens_iter=list(waits),
    )


def test_a_request_from_rest_to_rest() -> None:
    sums = StepSums()
    sums.add(scheduler(flops=1000, reads=10), iteration(100, 1, (0.5,)), 50.0)
    sums.add(scheduler(flops=10, reads=10), iteration(0, 1), 50.1)
    sums.add(scheduler(running=0, flops=10, reads=10), iteration(0, 1), 50.25)
    totals = sums.totals()
    assert (totals["steps"], totals["prefill_tokens"], totals["decode_tokens"], totals["running"]) == (3, 100, 3, 2)
    assert (totals["flops"], totals["prefill_flops"], totals["read_bytes"]) == (1020, 1000, 30)
    assert round(totals["busy_seconds"], 6) == 0.75
    assert totals["prefill_seconds"] == 0.5


def test_rest_is_not_work() -> None:
    sums = StepSums()
    sums.add(scheduler(running=0, flops=1), iteration(0, 1), 50.0)
    sums.add(scheduler(flops=1), iteration(5, 1, (0.25,)), 1050.0)
    assert sums.busy_seconds == 0.25


def test_the_empty_step_after_the_last_request_is_none() -> None:
    sums = StepSums()
    sums.add(scheduler(running=0, reads=10_000), None, 50.0)
    sums.add(None, iteration(), 51.0)
    assert not any(sums.totals().values())


def test_the_middle_of_a_long_prompt_is_a_step() -> None:
    """No request has a token to show for it yet."""
    sums = StepSums()
    sums.add(scheduler(flops=500), iteration(), 50.0)
    assert (sums.steps, sums.flops) == (1, 500)


def test_engines_of_one_server_are_added_up() -> None:
    first, second = StepSums(), StepSums()
    for sums in (first, second, second):
        sums.add(scheduler(flops=7), iteration(0, 2), 1.0)
    totals = added_up([first, second])
    assert (totals["steps"], totals["decode_tokens"], totals["flops"]) == (3, 6, 21)
