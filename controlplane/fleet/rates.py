"""What an engine does now, derived from two readings of its counters. Pure.

Called by `fleet.apply` for every report. A counter that went backwards (another process, a renamed metric) gives no figure
rather than a wrong one.
"""

from dataclasses import dataclass, replace

from controlplane.fleet.inside import StepTotals
from controlplane.fleet.observed import EngineCounters, FigureSource, Histogram, WorkingPoint


@dataclass(frozen=True, slots=True)
class StepsWindow:
    """Two of the plug-in's totals and the time between them."""

    new: StepTotals
    old: StepTotals
    seconds: float


def _delta(new: float | None, old: float | None) -> float | None:
    if new is None or old is None or new < old:
        return None
    return new - old


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or not denominator:
        return None
    return numerator / denominator


def histogram_delta(new: Histogram | None, old: Histogram | None) -> Histogram | None:
    """What was observed between two readings; None when they cannot be compared."""
    if new is None:
        return None
    if old is None:
        return new
    if new.upper_bounds != old.upper_bounds or len(new.counts) != len(old.counts):
        return None
    counts = tuple(a - b for a, b in zip(new.counts, old.counts, strict=True))
    if any(count < 0 for count in counts):
        return None
    return Histogram(new.upper_bounds, counts, new.sum - old.sum)


def quantile(histogram: Histogram | None, q: float) -> float | None:
    """The q-quantile (0 to 1), linear within its bucket, as Prometheus' histogram_quantile does.

    In the last, unbounded bucket the answer is its lower bound: the truth is at least that. None without observations.
    """
    if histogram is None:
        return None
    total = sum(histogram.counts)
    if total == 0:
        return None
    rank = q * total
    seen = 0.0
    lower = 0.0
    for upper, count in zip(histogram.upper_bounds, histogram.counts, strict=False):
        if count and seen + count >= rank:
            return lower + (upper - lower) * max(0.0, (rank - seen) / count)
        seen += count
        lower = upper
    return lower


def working_point(
    new: EngineCounters, old: EngineCounters, window_seconds: float, steps: StepsWindow | None = None
) -> WorkingPoint | None:
    """The working point over a window of `window_seconds`, or None when no step with tokens ran in it.

    Intensity is FLOPs over bytes of the window. Windows without tokens are left out because vLLM charges an empty trailing
    step with one read of all weights, which is not work. What the plug-in counted, step by step, is preferred to the
    engine's own metrics.
    """
    if window_seconds <= 0:
        return None
    tokens = _delta(new.step_tokens, old.step_tokens)
    inside = _from_inside(steps)
    if not tokens and inside is None:
        return None
    point = _from_metrics(new, old, window_seconds, tokens or None)
    return point if inside is None else _preferring(inside, point)


def _preferring(inside: WorkingPoint, metrics: WorkingPoint) -> WorkingPoint:
    return replace(
        metrics,
        source=inside.source,
        batch_tokens_per_step=inside.batch_tokens_per_step,
        running_per_step=inside.running_per_step,
        prefill_tokens_per_second=inside.prefill_tokens_per_second,
        decode_tokens_per_second=inside.decode_tokens_per_second,
        busy_ratio=inside.busy_ratio,
        flops_per_second=_first(inside.flops_per_second, metrics.flops_per_second),
        bytes_per_second=_first(inside.bytes_per_second, metrics.bytes_per_second),
        intensity_flops_per_byte=_first(inside.intensity_flops_per_byte, metrics.intensity_flops_per_byte),
        preemptions_per_second=inside.preemptions_per_second,
    )


def _first(value: float | None, other: float | None) -> float | None:
    return other if value is None else value


def _from_inside(steps: StepsWindow | None) -> WorkingPoint | None:
    """None without a step in the window, and when a total went backwards: another process."""
    if steps is None or steps.seconds <= 0:
        return None
    new, old, seconds = steps.new, steps.old, steps.seconds
    count = new.steps - old.steps
    prefill, decode = new.prefill_tokens - old.prefill_tokens, new.decode_tokens - old.decode_tokens
    running, preemptions = new.running - old.running, new.preemptions - old.preemptions
    busy = new.busy_seconds - old.busy_seconds
    if count <= 0 or min(prefill, decode, running, preemptions, busy) < 0 or prefill + decode == 0:
        return None
    # Steps with tokens compute and move something: without that, this engine does not estimate it.
    flops = _delta(new.flops, old.flops) or None
    moved = _delta(new.read_bytes + new.write_bytes, old.read_bytes + old.write_bytes) or None
    return WorkingPoint(
        window_seconds=seconds,
        source=FigureSource.PLUGIN,
        batch_tokens_per_step=(prefill + decode) / count,
        running_per_step=running / count,
        prefill_tokens_per_second=prefill / seconds,
        decode_tokens_per_second=decode / seconds,
        busy_ratio=min(1.0, busy / seconds),
        flops_per_second=_ratio(flops, seconds),
        bytes_per_second=_ratio(moved, seconds),
        intensity_flops_per_byte=_ratio(flops, moved),
        preemptions_per_second=preemptions / seconds,
    )


def _from_metrics(
    new: EngineCounters, old: EngineCounters, window_seconds: float, tokens: float | None
) -> WorkingPoint:
    steps = _delta(new.steps, old.steps)
    prompt = _delta(new.prompt_tokens, old.prompt_tokens)
    generation = _delta(new.generation_tokens, old.generation_tokens)
    flops = _delta(new.flops, old.flops)
    moved = _delta(new.bytes, old.bytes)
    ttft = histogram_delta(new.ttft_seconds, old.ttft_seconds)
    inter_token = histogram_delta(new.inter_token_seconds, old.inter_token_seconds)
    return WorkingPoint(
        window_seconds=window_seconds,
        batch_tokens_per_step=_ratio(tokens, steps),
        prompt_tokens_per_second=_ratio(prompt, window_seconds),
        generation_tokens_per_second=_ratio(generation, window_seconds),
        flops_per_second=_ratio(flops, window_seconds),
        bytes_per_second=_ratio(moved, window_seconds),
        intensity_flops_per_byte=_ratio(flops, moved),
        prefix_hit_ratio=_ratio(
            _delta(new.prefix_hit_tokens, old.prefix_hit_tokens),
            _delta(new.prefix_query_tokens, old.prefix_query_tokens),
        ),
        ttft_seconds_p50=quantile(ttft, 0.5),
        ttft_seconds_p95=quantile(ttft, 0.95),
        inter_token_seconds_p50=quantile(inter_token, 0.5),
        inter_token_seconds_p95=quantile(inter_token, 0.95),
        preemptions_per_second=_ratio(_delta(new.preemptions, old.preemptions), window_seconds),
    )
