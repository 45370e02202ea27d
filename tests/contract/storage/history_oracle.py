"""The same answers as the SQL of history, in plain Python, from all samples ever taken. Slow and obvious on purpose."""

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from controlplane.fleet.history import EngineHistoryRow, EngineSample

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTERS = (
    "prompt_tokens_total",
    "generation_tokens_total",
    "steps_total",
    "step_tokens_total",
    "prefix_query_tokens_total",
    "prefix_hit_tokens_total",
    "preemptions_total",
    "flops_total",
    "bytes_total",
    "ttft_seconds_sum_total",
    "ttft_count_total",
)
Added = dict[str, float | None]


def added_by_sample(samples: Iterable[EngineSample]) -> list[tuple[EngineSample, Added]]:
    """What each sample adds: its value less the last known of its process, or less zero."""
    last_known: dict[tuple[str, str, str], float] = {}
    answer = []
    for sample in sorted(samples, key=lambda each: each.sampled_at):
        added: Added = {}
        for counter in _COUNTERS:
            value = getattr(sample, counter)
            key = (sample.engine_id, sample.instance_id, counter)
            added[counter] = None if value is None else value - last_known.get(key, 0)
            if value is not None:
                last_known[key] = value
        answer.append((sample, added))
    return answer


def history(
    samples: Iterable[EngineSample], since: datetime, until: datetime, bucket_seconds: int
) -> list[EngineHistoryRow]:
    buckets = defaultdict(list)
    for sample, added in added_by_sample(samples):
        if since <= sample.sampled_at < until:
            number = (sample.sampled_at - _EPOCH) // timedelta(seconds=bucket_seconds)
            buckets[number, sample.engine_id].append((sample, added))
    rows = []
    for (number, engine_id), members in sorted(buckets.items()):
        sums = {counter: _sum(added[counter] for _, added in members) for counter in _COUNTERS}
        ratios = [ratio for each, _ in members if (ratio := _kv_used_ratio(each)) is not None]
        running = [s.running_count for s, _ in members if s.running_count is not None]
        waiting = [s.waiting_count for s, _ in members if s.waiting_count is not None]
        first = members[0][0]
        rows.append(
            EngineHistoryRow(
                bucket_at=_EPOCH + number * timedelta(seconds=bucket_seconds),
                engine_id=engine_id,
                node=first.node,
                provider=first.provider,
                region=first.region,
                model=first.model,
                samples_count=len(members),
                kv_used_ratio_max=max(ratios) if ratios else None,
                kv_used_ratio_mean=sum(ratios) / len(ratios) if ratios else None,
                running_count_mean=sum(running) / len(running) if running else None,
                waiting_count_max=max(waiting) if waiting else None,
                prompt_tokens=_int(sums["prompt_tokens_total"]),
                generation_tokens=_int(sums["generation_tokens_total"]),
                batch_tokens_per_step=_ratio(sums["step_tokens_total"], sums["steps_total"]),
                intensity_flops_per_byte=_ratio(sums["flops_total"], sums["bytes_total"]),
                prefix_hit_ratio=_ratio(sums["prefix_hit_tokens_total"], sums["prefix_query_tokens_total"]),
                preemptions_count=_int(sums["preemptions_total"]),
                ttft_seconds_mean=_ratio(sums["ttft_seconds_sum_total"], sums["ttft_count_total"]),
            )
        )
    return rows


def same(ours: EngineHistoryRow, theirs: EngineHistoryRow) -> bool:
    """Equal, but for the order in which floats were added."""
    for name in EngineHistoryRow.__slots__:
        left, right = getattr(ours, name), getattr(theirs, name)
        if isinstance(left, float) and isinstance(right, float | int):
            if not math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9):
                return False
        elif left != right:
            return False
    return True


def _kv_used_ratio(sample: EngineSample) -> float | None:
    return _ratio(sample.kv_used_tokens, sample.kv_capacity_tokens)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _int(value: float | None) -> int | None:
    return None if value is None else int(value)
