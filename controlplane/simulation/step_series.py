"""Many steps of the same batch at once: how long the first `n` of them take, and what they do, without a loop.

Used by `simulated_engine`. While nothing joins or leaves a batch, every step costs a little more than the one before, by
the same amount, since every context grows by one token: so sums have a closed form, and they are exact to the step model.
"""

import math
from dataclasses import dataclass

from controlplane.simulation.engine_model import EngineModel, Work


@dataclass(frozen=True, slots=True)
class Line:
    """`first + slope·i`, for the steps i = 0, 1, …"""

    first: float
    slope: float

    def at(self, index: float) -> float:
        return self.first + self.slope * index

    def sum(self, count: float) -> float:
        """Over the first `count` steps."""
        return self.first * count + self.slope * (count * (count - 1) / 2)


@dataclass(frozen=True, slots=True)
class StepSeries:
    """The steps of one batch. With prompt tokens in it there is one step only: the next one is another batch."""

    flops: Line
    read_bytes: Line
    write_bytes_per_step: float
    compute_seconds: Line
    memory_seconds: Line
    overhead_seconds: float
    # The first step in which the other roof is the higher one; infinite when the same roof limits all of them.
    crossing: float
    compute_limits_first: bool

    def seconds_of(self, index: int) -> float:
        """How long the step of this index takes."""
        return max(self.compute_seconds.at(index), self.memory_seconds.at(index)) + self.overhead_seconds

    def seconds(self, count: int) -> float:
        """How long the first `count` steps take together."""
        first, then = self.compute_seconds, self.memory_seconds
        if not self.compute_limits_first:
            first, then = then, first
        if count <= self.crossing:
            return first.sum(count) + self.overhead_seconds * count
        return first.sum(self.crossing) + then.sum(count) - then.sum(self.crossing) + self.overhead_seconds * count

    def count_within(self, seconds: float, count_max: int) -> int:
        """How many of the first `count_max` steps have ended after `seconds`."""
        if count_max <= 0 or self.seconds(1) > seconds:
            return 0
        if self.seconds(count_max) <= seconds:
            return count_max
        done, over = 1, count_max  # the answer is at least `done` and less than `over`
        while over - done > 1:
            middle = (done + over) // 2
            if self.seconds(middle) <= seconds:
                done = middle
            else:
                over = middle
        return done

    def work(self, count: int) -> Work:
        return Work(self.flops.sum(count), self.read_bytes.sum(count), self.write_bytes_per_step * count)


def series(
    model: EngineModel,
    decoding: int,
    contexts_tokens: int,
    prefills: tuple[tuple[int, int], ...] = (),
    *,
    pace: float = 1.0,
) -> StepSeries:
    """Steps in which `decoding` sequences with so many tokens in all get one token each.

    `prefills` are (new tokens, context before) of the prompts computed in the same step. `pace` is how much slower than its
    model the device works now: 2.0 takes twice as long.
    """
    kv, shape = model.kv_bytes_per_token, model.shape
    flops = model.decode_flops(contexts_tokens + decoding, decoding)
    flops += sum(model.prefill_flops(tokens, before) for tokens, before in prefills)
    read = shape.weights_bytes + kv * (contexts_tokens + sum(before for _, before in prefills))
    write = kv * (decoding + sum(tokens for tokens, _ in prefills))
    flops_line = Line(flops, shape.attention_flops_per_pair * decoding)
    read_line = Line(read, kv * decoding)
    compute_rate, memory_rate = model.reached_flops_per_second / pace, model.reached_bytes_per_second / pace
    compute = Line(flops_line.first / compute_rate, flops_line.slope / compute_rate)
    memory = Line((read_line.first + write) / memory_rate, read_line.slope / memory_rate)
    sequences = decoding + len(prefills)
    overhead = (model.costs.step_overhead_seconds + model.costs.sequence_overhead_seconds * sequences) * pace
    ahead = compute.first - memory.first
    closing = memory.slope - compute.slope  # how much the difference shrinks with every step
    compute_first = ahead >= 0
    lead, rate = (ahead, closing) if compute_first else (-ahead, -closing)
    crossing = math.inf if rate <= 0 else float(math.floor(lead / rate) + 1)
    return StepSeries(flops_line, read_line, write, compute, memory, overhead, crossing, compute_first)
