"""vLLM's /metrics text, read into Stoker's names and units. Pure.

Called by `engines.vllm_client` about once a second for every engine, so only the lines that are wanted are parsed (some
60 of 700), and of each of them the name and labels only once: they are the same in every reading, only values change.
What is absent or makes no sense becomes None and is named in `Scrape.missing`; it never becomes zero.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from prometheus_client.parser import text_string_to_metric_families

from node_agent.errors import MetricsError
from node_agent.probes.scrape import Scrape
from node_agent.session.facts import EngineCounters, EngineGauges, Histogram

# Field of EngineCounters or EngineGauges → vLLM's sample. Summed over its labels: data-parallel ranks, finish reasons.
_COUNTS = {
    "prompt_tokens": "vllm:prompt_tokens_total",
    "generation_tokens": "vllm:generation_tokens_total",
    "steps": "vllm:iteration_tokens_total_count",
    "step_tokens": "vllm:iteration_tokens_total_sum",
    "prefix_query_tokens": "vllm:prefix_cache_queries_total",
    "prefix_hit_tokens": "vllm:prefix_cache_hits_total",
    "preemptions": "vllm:num_preemptions_total",
    "requests_finished": "vllm:request_success_total",
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
}
_FLOPS = "vllm:estimated_flops_per_gpu_total"
_READ_BYTES = "vllm:estimated_read_bytes_per_gpu_total"
_WRITE_BYTES = "vllm:estimated_write_bytes_per_gpu_total"
_KV_USED_RATIO = "vllm:kv_cache_usage_perc"
_CACHE_CONFIG = "vllm:cache_config_info"
_KV_CAPACITY_LABEL = "kv_cache_size_tokens"
_TTFT = "vllm:time_to_first_token_seconds"
_ITL = "vllm:inter_token_latency_seconds"

_WANTED_SCALARS = (*_COUNTS.values(), _FLOPS, _READ_BYTES, _WRITE_BYTES, _KV_USED_RATIO, _CACHE_CONFIG)
# A brace or a space ends a sample's name, so that a longer name does not pass for a shorter one.
_WANTED_PREFIXES = (
    *(f"{name}{end}" for name in _WANTED_SCALARS for end in ("{", " ")),
    *(f"{name}{part}" for name in (_TTFT, _ITL) for part in ("_bucket{", "_sum{", "_sum ")),
)
# More would be no machine's doing; above it floats no longer count one by one.
_COUNT_MAX = float(2**53)
_MAY_BE_HUGE = (_FLOPS, _READ_BYTES, _WRITE_BYTES)
_UNREADABLE = (ValueError, IndexError, KeyError)
# Names with labels that are remembered, for all engines together, and how long they may be: some MB at the very worst.
_SERIES_KEPT = 2048
_SERIES_CHARACTERS_MAX = 4096


@dataclass
class _Reading:
    """Sums by sample name, KV by data-parallel rank, buckets by histogram."""

    sums: dict[str, float] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)
    kv_used_ratio_by_rank: dict[str, float] = field(default_factory=dict)
    kv_capacity_by_rank: dict[str, int] = field(default_factory=dict)
    buckets: dict[str, dict[float, float]] = field(default_factory=dict)

    def add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        if not math.isfinite(value) or value < 0 or (value > _COUNT_MAX and name not in _MAY_BE_HUGE):
            self.spoilt.add(name)
        elif name == _CACHE_CONFIG:
            self._add_capacity(labels)
        elif name == _KV_USED_RATIO:
            self.kv_used_ratio_by_rank[labels.get("engine", "")] = value
        elif name.endswith("_bucket"):
            self._add_bucket(name.removesuffix("_bucket"), labels, value)
        else:
            self.sums[name] = self.sums.get(name, 0.0) + value

    def _add_capacity(self, labels: Mapping[str, str]) -> None:
        text = labels.get(_KV_CAPACITY_LABEL, "")
        if text.isascii() and text.isdigit() and len(text) < 16:
            self.kv_capacity_by_rank[labels.get("engine", "")] = int(text)
        else:
            self.spoilt.add(_CACHE_CONFIG)

    def _add_bucket(self, name: str, labels: Mapping[str, str], value: float) -> None:
        try:
            bound = float(labels["le"])
        except (KeyError, ValueError):
            self.spoilt.add(name)
            return
        ladder = self.buckets.setdefault(name, {})
        ladder[bound] = ladder.get(bound, 0.0) + value

    def number(self, name: str) -> float | None:
        return None if name in self.spoilt else self.sums.get(name)

    def count(self, field_name: str) -> int | None:
        value = self.number(_COUNTS[field_name])
        return None if value is None else round(value)


def read_metrics(text: str) -> Scrape:
    """Raises MetricsError when the text holds not one metric of vLLM's."""
    wanted = [line for line in text.split("\n") if line.startswith(_WANTED_PREFIXES)]
    if not wanted:
        raise MetricsError("the engine's /metrics holds none of vLLM's metrics")
    reading = _Reading()
    for name, labels, value in _samples(wanted):
        reading.add(name, labels, value)
    gauges = _gauges(reading)
    counters = EngineCounters(
        prompt_tokens=reading.count("prompt_tokens"),
        generation_tokens=reading.count("generation_tokens"),
        steps=reading.count("steps"),
        step_tokens=reading.count("step_tokens"),
        prefix_query_tokens=reading.count("prefix_query_tokens"),
        prefix_hit_tokens=reading.count("prefix_hit_tokens"),
        preemptions=reading.count("preemptions"),
        requests_finished=reading.count("requests_finished"),
        flops=reading.number(_FLOPS),
        bytes=_sum(reading.number(_READ_BYTES), reading.number(_WRITE_BYTES)),
        ttft_seconds=_histogram(reading, _TTFT),
        inter_token_seconds=_histogram(reading, _ITL),
    )
    missing = [name for part in (gauges, counters) for name in part.__dataclass_fields__ if getattr(part, name) is None]
    return Scrape(gauges=gauges, counters=counters, missing=tuple(missing))


def _samples(lines: list[str]) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Every sample. One unreadable line spoils its own metric (as not-a-number) and no other."""
    for line in lines:
        # A label may hold a brace, what comes after them may not: a value, and perhaps a time.
        end = line.rfind("}") + 1 or line.find(" ")
        series, told = line[:end], line[end:].split()
        try:
            name, labels = _series(series) if end <= _SERIES_CHARACTERS_MAX else _read_series(series)
            yield name, labels, _number(told)
        except _UNREADABLE:
            yield re.split(r"[{ ]", line, maxsplit=1)[0], {}, math.nan


def _read_series(series: str) -> tuple[str, Mapping[str, str]]:
    """The name and the labels. Raises one of _UNREADABLE."""
    found = [sample for family in text_string_to_metric_families(f"{series} 0\n") for sample in family.samples]
    return found[0].name, found[0].labels


_series = lru_cache(maxsize=_SERIES_KEPT)(_read_series)


def _number(told: list[str]) -> float:
    """The value, with or without its time. Raises ValueError."""
    # Python also takes 1_000 for a number, and digits of all scripts.
    if not 1 <= len(told) <= 2 or not told[0].isascii() or "_" in told[0]:
        raise ValueError(f"{' '.join(told)[:40]!r} is no value")
    return float(told[0])


def _gauges(reading: _Reading) -> EngineGauges:
    capacity = {} if _CACHE_CONFIG in reading.spoilt else reading.kv_capacity_by_rank
    used_ratio = reading.kv_used_ratio_by_rank
    used: int | None = None
    if capacity and _KV_USED_RATIO not in reading.spoilt and capacity.keys() == used_ratio.keys():
        used = round(sum(min(used_ratio[rank], 1.0) * tokens for rank, tokens in capacity.items()))
    return EngineGauges(
        kv_capacity_tokens=sum(capacity.values()) if capacity else None,
        kv_used_tokens=used,
        running=reading.count("running"),
        waiting=reading.count("waiting"),
    )


def _histogram(reading: _Reading, name: str) -> Histogram | None:
    """vLLM's buckets are cumulative; ours are not."""
    ladder = reading.buckets.get(name)
    total = reading.number(f"{name}_sum")
    if not ladder or total is None or name in reading.spoilt or f"{name}_bucket" in reading.spoilt:
        return None
    bounds = sorted(ladder)
    if bounds[-1] != math.inf:
        return None
    cumulative = [round(ladder[bound]) for bound in bounds]
    counts = [upper - lower for upper, lower in zip(cumulative, [0, *cumulative], strict=False)]
    if min(counts) < 0:
        return None
    return Histogram(upper_bounds=tuple(bounds[:-1]), counts=tuple(counts), sum=total)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
