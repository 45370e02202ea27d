"""vLLM's /metrics: a real one of 0.32.0, and everything that can be wrong with one."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.errors import MetricsError
from node_agent.probes.metrics import read_metrics

REAL = (Path(__file__).parents[3] / "fixtures/vllm_metrics_0_32_0.txt").read_text()


def line(name: str, value: object, **labels: str) -> str:
    inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value}"


def test_a_real_scrape_tells_everything() -> None:
    scrape = read_metrics(REAL)
    assert scrape.missing == ()
    counters, gauges = scrape.counters, scrape.gauges
    assert gauges.kv_capacity_tokens
    assert counters.generation_tokens
    assert counters.steps
    assert counters.step_tokens
    assert counters.steps < counters.step_tokens
    assert counters.ttft_seconds is not None
    assert sum(counters.ttft_seconds.counts) == counters.requests_finished
    assert len(counters.ttft_seconds.counts) == len(counters.ttft_seconds.upper_bounds) + 1
    assert counters.inter_token_seconds is not None
    assert sum(counters.inter_token_seconds.counts) == counters.generation_tokens - (counters.requests_finished or 0)


def test_buckets_are_no_longer_cumulative() -> None:
    name = "vllm:time_to_first_token_seconds"
    text = "\n".join(
        [line(f"{name}_bucket", value, le=bound, engine="0") for bound, value in (("0.1", 2), ("1.0", 5), ("+Inf", 6))]
        + [line(f"{name}_sum", 3.5, engine="0")]
    )
    histogram = read_metrics(text).counters.ttft_seconds
    assert histogram is not None
    assert (histogram.upper_bounds, histogram.counts, histogram.sum) == ((0.1, 1.0), (2, 3, 1), 3.5)


def test_ranks_and_reasons_add_up() -> None:
    text = "\n".join(
        [
            line("vllm:generation_tokens_total", 10, engine="0"),
            line("vllm:generation_tokens_total", 5, engine="1"),
            line("vllm:request_success_total", 2, engine="0", finished_reason="stop"),
            line("vllm:request_success_total", 1, engine="0", finished_reason="length"),
            line("vllm:kv_cache_usage_perc", 0.5, engine="0"),
            line("vllm:kv_cache_usage_perc", 0.25, engine="1"),
            line("vllm:cache_config_info", 1, engine="0", kv_cache_size_tokens="1000"),
            line("vllm:cache_config_info", 1, engine="1", kv_cache_size_tokens="2000"),
            line("vllm:estimated_read_bytes_per_gpu_total", 1e17, engine="0"),
            line("vllm:estimated_write_bytes_per_gpu_total", 5, engine="0"),
        ]
    )
    scrape = read_metrics(text)
    assert (scrape.counters.generation_tokens, scrape.counters.requests_finished) == (15, 3)
    assert (scrape.gauges.kv_capacity_tokens, scrape.gauges.kv_used_tokens) == (3000, 1000)
    assert scrape.counters.bytes == 1e17 + 5
    assert scrape.counters.flops is None
    assert {"flops", "prompt_tokens", "running"} <= set(scrape.missing)


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf", "1e300", "banana", ""])
def test_nonsense_spoils_its_own_metric_only(value: str) -> None:
    text = "\n".join(
        [
            line("vllm:generation_tokens_total", 10, engine="0"),
            line("vllm:generation_tokens_total", value, engine="1"),
            line("vllm:prompt_tokens_total", 7, engine="0"),
        ]
    )
    scrape = read_metrics(text)
    assert (scrape.counters.generation_tokens, scrape.counters.prompt_tokens) == (None, 7)
    assert "generation_tokens" in scrape.missing


@pytest.mark.parametrize("capacity", ["", "None", "-5", "1e9", "9" * 40])
def test_a_capacity_that_is_no_number_is_unknown(capacity: str) -> None:
    text = "\n".join(
        [
            line("vllm:kv_cache_usage_perc", 0.5, engine="0"),
            line("vllm:cache_config_info", 1, engine="0", kv_cache_size_tokens=capacity),
        ]
    )
    gauges = read_metrics(text).gauges
    assert (gauges.kv_capacity_tokens, gauges.kv_used_tokens) == (None, None)


def test_a_name_that_only_begins_alike_is_another_metric() -> None:
    text = line("vllm:num_requests_waiting_by_reason", 9, engine="0", reason="capacity") + "\n"
    text += line("vllm:num_requests_waiting", 2, engine="0")
    assert read_metrics(text).gauges.waiting == 2


@pytest.mark.parametrize(
    "odd", ['a"} 5', "x" * 5000, "with spaces", "it's {1}", ""], ids=["quoted", "long", "spaces", "braces", "empty"]
)
def test_a_reading_is_as_good_as_the_first_whatever_labels_hold(odd: str) -> None:
    quoted = odd.replace('"', '\\"')
    for value in (1, 2):
        text = line("vllm:num_requests_waiting", value, engine="0", model_name=quoted)
        text += "\n" + line("vllm:cache_config_info", 1, engine="0", kv_cache_size_tokens=f"{value}000", other=quoted)
        gauges = read_metrics(text).gauges
        assert (gauges.waiting, gauges.kv_capacity_tokens) == (value, value * 1000)


@pytest.mark.parametrize(
    ("told", "waiting"), [("3 1700000000000", 3), ("3e0", 3), ("1_0", None), ("٣", None), ("3 x y", None)]
)
def test_a_value_may_have_a_time_and_nothing_else(told: str, waiting: int | None) -> None:
    assert read_metrics(line("vllm:num_requests_waiting", told, engine="0")).gauges.waiting == waiting
    assert read_metrics(f"vllm:num_requests_waiting {told}").gauges.waiting == waiting


def test_a_histogram_that_shrinks_is_unknown() -> None:
    name = "vllm:inter_token_latency_seconds"
    text = "\n".join(
        [line(f"{name}_bucket", value, le=bound) for bound, value in (("0.1", 5), ("+Inf", 3))]
        + [line(f"{name}_sum", 1)]
    )
    assert read_metrics(text).counters.inter_token_seconds is None


@pytest.mark.parametrize("text", ["", "<html>not here</html>", "# TYPE x counter\nx 1\n"])
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(MetricsError):
        read_metrics(text)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(REAL) - 1), st.text(max_size=30))
def test_a_damaged_scrape_never_crashes(at: int, noise: str) -> None:
    try:
        scrape = read_metrics(REAL[:at] + noise + REAL[at + len(noise) :])
    except MetricsError:
        return
    assert scrape.gauges.kv_capacity_tokens is None or scrape.gauges.kv_capacity_tokens >= 0
