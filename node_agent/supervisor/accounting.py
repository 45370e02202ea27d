"""Arithmetic on counters, so that the agent's own canaries never show in what is reported. Pure.

Called by `EngineWatch`. Unknown stays unknown: a figure that is None on either side, or that ran backwards, is None.
"""

from bisect import bisect_left
from dataclasses import fields
from typing import Any

from node_agent.engines.engine import CanaryAnswer
from node_agent.session.facts import EngineCounters, Histogram

_NAMES = tuple(field.name for field in fields(EngineCounters))


def subtract(total: EngineCounters, part: EngineCounters) -> EngineCounters:
    return EngineCounters(**{name: _less(getattr(total, name), getattr(part, name)) for name in _NAMES})


def add(one: EngineCounters, other: EngineCounters) -> EngineCounters:
    return EngineCounters(**{name: _plus(getattr(one, name), getattr(other, name)) for name in _NAMES})


def canary_share(before: EngineCounters, after: EngineCounters, answer: CanaryAnswer, seconds: float) -> EngineCounters:
    """What of the growth between two readings was the canary's; other requests may have run beside it.

    Alone, it is the whole growth. In company its tokens are known exactly; the step that it shared, with its FLOPs and
    bytes, is left to the others, and its time to first token is taken from the bucket nearest to what the agent saw.
    """
    growth = subtract(after, before)
    alone = (growth.prompt_tokens, growth.generation_tokens) == (answer.prompt_tokens, answer.generation_tokens)
    if alone:
        return _known(growth, after)
    computed = answer.prompt_tokens - answer.cached_tokens
    return EngineCounters(
        prompt_tokens=answer.prompt_tokens,
        generation_tokens=answer.generation_tokens,
        steps=0,
        step_tokens=computed + answer.generation_tokens,
        prefix_query_tokens=answer.prompt_tokens,
        prefix_hit_tokens=answer.cached_tokens,
        preemptions=0,
        requests_finished=1,
        flops=0.0,
        bytes=0.0,
        ttft_seconds=_one_observation(growth.ttft_seconds, seconds) or _empty(after.ttft_seconds),
        inter_token_seconds=_empty(after.inter_token_seconds),
    )


def _known(growth: EngineCounters, after: EngineCounters) -> EngineCounters:
    """What one reading did not tell must not make the figure unknown for good."""
    values: dict[str, Any] = {name: getattr(growth, name) for name in _NAMES}
    for name, value in values.items():
        if value is None:
            latest = getattr(after, name)
            values[name] = _empty(latest) if isinstance(latest, Histogram) else 0
    return EngineCounters(**values)


def _less(total: Any, part: Any) -> Any:
    if total is None or part is None:
        return None
    if isinstance(total, Histogram):
        return _combine(total, part, -1)
    return total - part if total >= part else None


def _plus(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return None
    return _combine(one, other, +1) if isinstance(one, Histogram) else one + other


def _combine(one: Histogram, other: Histogram, sign: int) -> Histogram | None:
    if one.upper_bounds != other.upper_bounds:
        return None
    counts = tuple(a + sign * b for a, b in zip(one.counts, other.counts, strict=True))
    if min(counts) < 0:
        return None
    # Sums are floats: what should cancel out may leave a hair below zero.
    return Histogram(one.upper_bounds, counts, max(0.0, one.sum + sign * other.sum))


def _empty(histogram: Histogram | None) -> Histogram | None:
    if histogram is None:
        return None
    return Histogram(histogram.upper_bounds, (0,) * len(histogram.counts), 0.0)


def _one_observation(growth: Histogram | None, seconds: float) -> Histogram | None:
    if growth is None or not any(growth.counts):
        return None
    seen = bisect_left(growth.upper_bounds, seconds)
    # The engine's own time is shorter than the agent's, so the bucket is at or below what the agent saw, if it can be.
    filled = [index for index, count in enumerate(growth.counts) if count]
    bucket = max((index for index in filled if index <= seen), default=filled[0])
    counts = tuple(int(index == bucket) for index in range(len(growth.counts)))
    return Histogram(growth.upper_bounds, counts, min(seconds, growth.sum))
