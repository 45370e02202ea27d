"""What a simulated engine counts, under the names and in the buckets of vLLM's metrics. Pure.

Written by `simulated_engine`; read by whoever reports it.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from controlplane.simulation.recomputed import Recomputed
from controlplane.simulation.step_series import StepSeries

TTFT_BOUNDS_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
INTER_TOKEN_BOUNDS_SECONDS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)


@dataclass(slots=True)
class Tally:
    """A histogram in the making: one count more than bounds."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def count_steps(self, steps: StepSeries, since: int, until: int, weight: int) -> None:
        """`weight` values for each step from `since` up to `until`, into the buckets alone: `sum` is the caller's.

        Steps never get shorter, so those of one bucket follow each other.
        """
        while since < until:
            bucket = bisect_left(self.bounds, steps.seconds_of(since))
            end = until
            if bucket < len(self.bounds) and steps.seconds_of(until - 1) > self.bounds[bucket]:
                inside, outside = since, until - 1
                while outside - inside > 1:
                    middle = (inside + outside) // 2
                    inside, outside = (
                        (middle, outside) if steps.seconds_of(middle) <= self.bounds[bucket] else (inside, middle)
                    )
                end = outside
            self.counts[bucket] += weight * (end - since)
            since = end


@dataclass(slots=True)
class Counters:
    """Since the engine's start."""

    prompt_tokens: int = 0
    generation_tokens: int = 0
    steps: int = 0
    step_tokens: int = 0
    prefix_query_tokens: int = 0
    prefix_hit_tokens: int = 0
    preemptions: int = 0
    requests_finished: int = 0
    flops: float = 0.0
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    busy_seconds: float = 0.0
    ttft: Tally = field(default_factory=lambda: Tally(TTFT_BOUNDS_SECONDS))
    inter_token: Tally = field(default_factory=lambda: Tally(INTER_TOKEN_BOUNDS_SECONDS))
    recomputed: Recomputed = field(default_factory=Recomputed)


@dataclass(frozen=True, slots=True)
class Gauges:
    kv_capacity_tokens: int
    kv_used_tokens: int  # held by live requests
    running: int
    waiting: int
