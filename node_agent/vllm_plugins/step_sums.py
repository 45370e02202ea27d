"""Sums over an engine's steps. Called by `stat_logger` once a step, and read by the sender's thread once a second. Pure.

An engine's statistics tell tokens when a prompt is done, so a step in the middle of a long prompt shows by its FLOPs
alone. A step that computed nothing is none: vLLM makes one after the last request, and charges it a read of all weights.
"""

from typing import Any


class StepSums:
    """One for each engine of the server (data parallelism)."""

    __slots__ = (
        "_idle",
        "_last_at",
        "busy_seconds",
        "decode_tokens",
        "flops",
        "preemptions",
        "prefill_flops",
        "prefill_seconds",
        "prefill_tokens",
        "read_bytes",
        "running",
        "steps",
        "waiting",
        "write_bytes",
    )

    def __init__(self) -> None:
        self.steps = self.prefill_tokens = self.decode_tokens = self.running = self.waiting = self.preemptions = 0
        self.flops = self.read_bytes = self.write_bytes = self.busy_seconds = 0.0
        self.prefill_flops = self.prefill_seconds = 0.0
        self._last_at = 0.0
        self._idle = True

    def add(self, scheduler: Any, iteration: Any, now: float) -> None:
        """vLLM's SchedulerStats and IterationStats, either of which may be None; `now` is monotonic."""
        prefill = decode = 0
        span = 0.0 if self._idle else now - self._last_at
        if iteration is not None:
            prefill = iteration.prompt_token_stats.computed
            decode = iteration.num_generation_tokens
            self.preemptions += iteration.num_preempted_reqs
            if self._idle and iteration.time_to_first_tokens_iter:
                # Nobody saw the first step after a rest begin; its requests' own wait is the nearest to it.
                span = min(max(iteration.time_to_first_tokens_iter), now - self._last_at)
        self._last_at = now
        flops = 0.0
        if scheduler is not None:
            running = scheduler.num_running_reqs
            waiting = scheduler.num_waiting_reqs + scheduler.num_skipped_waiting_reqs
            self._idle = running + waiting == 0
            costs = scheduler.perf_stats
            if costs is not None:
                flops = costs.num_flops_per_gpu
        if not (prefill or decode or flops):
            return
        self.prefill_tokens += prefill
        self.decode_tokens += decode
        self.busy_seconds += span
        if scheduler is not None:
            self.steps += 1
            self.running += running
            self.waiting += waiting
            if costs is not None:
                self.flops += flops
                self.read_bytes += costs.num_read_bytes_per_gpu
                self.write_bytes += costs.num_write_bytes_per_gpu
        if prefill:
            self.prefill_flops += flops
            self.prefill_seconds += span

    def totals(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.__slots__ if not name.startswith("_")}


def added_up(sums: list[StepSums]) -> dict[str, float]:
    every = [one.totals() for one in sums]
    return {name: sum(totals[name] for totals in every) for name in (every[0] if every else ())}
