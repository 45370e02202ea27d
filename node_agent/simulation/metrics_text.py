"""A simulated engine's counters and gauges in Prometheus' text form, under vLLM's names. Pure; used by `http_app`."""

from itertools import accumulate

from controlplane.simulation.simulated_engine import SimulatedEngine
from controlplane.simulation.tallies import Tally


def metrics_text(engine: SimulatedEngine, model: str) -> str:
    labels = f'engine="0",model_name="{_escaped(model)}"'
    counters, gauges = engine.counters, engine.gauges
    used = gauges.kv_used_tokens / gauges.kv_capacity_tokens
    lines: list[str] = []

    def tell(name: str, kind: str, value: float, more: str = "") -> None:
        plain = name.removesuffix("_total")
        lines.append(f"# HELP vllm:{plain} Simulated.")
        lines.append(f"# TYPE vllm:{plain} {kind}")
        lines.append(f"vllm:{name}{{{labels}{more}}} {float(value)!r}")

    tell("num_requests_running", "gauge", gauges.running)
    tell("num_requests_waiting", "gauge", gauges.waiting)
    tell("kv_cache_usage_perc", "gauge", used)
    tell("prefix_cache_queries_total", "counter", counters.prefix_query_tokens)
    tell("prefix_cache_hits_total", "counter", counters.prefix_hit_tokens)
    tell("num_preemptions_total", "counter", counters.preemptions)
    tell("prompt_tokens_total", "counter", counters.prompt_tokens)
    tell("generation_tokens_total", "counter", counters.generation_tokens)
    tell("request_success_total", "counter", counters.requests_finished, ',finished_reason="length"')
    tell("estimated_flops_per_gpu_total", "counter", counters.flops / engine.model.limits.tensor_parallel)
    tell("estimated_read_bytes_per_gpu_total", "counter", counters.read_bytes / engine.model.limits.tensor_parallel)
    tell("estimated_write_bytes_per_gpu_total", "counter", counters.write_bytes / engine.model.limits.tensor_parallel)
    size = f',block_size="{engine.model.limits.block_tokens}",kv_cache_size_tokens="{gauges.kv_capacity_tokens}"'
    tell("cache_config_info", "gauge", 1, f'{size},num_gpu_blocks="{engine.blocks.blocks_count}"')
    lines += ["# TYPE vllm:iteration_tokens_total histogram"]
    lines += [f'vllm:iteration_tokens_total_bucket{{{labels},le="+Inf"}} {float(counters.steps)!r}']
    lines += [f"vllm:iteration_tokens_total_sum{{{labels}}} {float(counters.step_tokens)!r}"]
    lines += [f"vllm:iteration_tokens_total_count{{{labels}}} {float(counters.steps)!r}"]
    lines += _histogram("time_to_first_token_seconds", labels, counters.ttft)
    lines += _histogram("inter_token_latency_seconds", labels, counters.inter_token)
    return "\n".join(lines) + "\n"


def _histogram(name: str, labels: str, tally: Tally) -> list[str]:
    sums = list(accumulate(tally.counts))
    bounds = [*map(repr, tally.bounds), "+Inf"]
    lines = [f"# HELP vllm:{name} Simulated.", f"# TYPE vllm:{name} histogram"]
    lines += [
        f'vllm:{name}_bucket{{{labels},le="{bound}"}} {float(count)!r}'
        for bound, count in zip(bounds, sums, strict=True)
    ]
    return [*lines, f"vllm:{name}_sum{{{labels}}} {tally.sum!r}", f"vllm:{name}_count{{{labels}}} {float(sums[-1])!r}"]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
