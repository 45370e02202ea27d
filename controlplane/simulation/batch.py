"""How a simulated engine puts a step together: vLLM's continuous batching with chunked prefill. Pure.

Used by `simulated_engine`. What runs goes first, in order of arrival; what waits joins while there are seats, tokens in the
step's budget and blocks. When blocks run out for what runs, the one that came last is preempted and computed again later.
"""

from collections import deque
from dataclasses import dataclass, field

from controlplane.simulation.engine_model import EngineModel
from controlplane.simulation.kv_blocks import Holding, KvBlocks
from controlplane.simulation.requests import SimulatedRequest


@dataclass(slots=True, eq=False)
class Sequence:
    """One request inside the engine."""

    request: SimulatedRequest
    arrived_at: float
    holding: Holding = field(default_factory=Holding)
    computed: int = 0  # tokens whose KV is there once the step under way ends
    generated: int = 0
    prefill_until: int = 0  # prompt, and after a preemption what was generated before: computed before it decodes again
    cached_tokens: int | None = None  # found when it was first admitted; None: it never ran
    admitted_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    aborted: bool = False

    @property
    def decoding(self) -> bool:
        return self.computed >= self.prefill_until

    @property
    def left(self) -> int:
        return self.request.output_tokens - self.generated


@dataclass(slots=True)
class Batch:
    """What one step computes."""

    decoding: list[Sequence] = field(default_factory=list)
    prefills: list[tuple[Sequence, int]] = field(default_factory=list)  # and how many of its tokens
    preempted: list[Sequence] = field(default_factory=list)
    admitted: list[Sequence] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.decoding or self.prefills)


def next_batch(
    model: EngineModel, blocks: KvBlocks, running: list[Sequence], waiting: deque[Sequence], at: float
) -> Batch:
    """Takes from `waiting`, puts into `running`, and gives every scheduled token its block."""
    batch = Batch()
    budget = _schedule_running(model, blocks, running, waiting, batch)
    if batch.preempted:
        return batch
    while waiting and len(running) < model.limits.sequences_max and budget > 0:
        chunk = _admit(model, blocks, waiting[0], budget, at)
        if chunk is None:
            break
        sequence = waiting.popleft()
        running.append(sequence)
        batch.admitted.append(sequence)
        batch.prefills.append((sequence, chunk))
        budget -= chunk
    return batch


def _schedule_running(
    model: EngineModel, blocks: KvBlocks, running: list[Sequence], waiting: deque[Sequence], batch: Batch
) -> int:
    """What is left of the step's budget."""
    budget = model.limits.batched_tokens_max
    index = 0
    while index < len(running) and budget > 0:
        sequence = running[index]
        tokens = 1 if sequence.decoding else min(sequence.prefill_until - sequence.computed, budget)
        wanted = model.blocks_for(sequence.computed + tokens) - sequence.holding.count
        while wanted > blocks.free_count and len(running) > index:
            batch.preempted.append(_preempt(blocks, running, waiting))
        if len(running) <= index:
            break  # it was the last one itself
        if wanted > 0:
            blocks.grow(sequence.holding, wanted)
        if sequence.decoding:
            batch.decoding.append(sequence)
        else:
            batch.prefills.append((sequence, tokens))
        budget -= tokens
        index += 1
    return budget


def _preempt(blocks: KvBlocks, running: list[Sequence], waiting: deque[Sequence]) -> Sequence:
    victim = running.pop()
    blocks.release(victim.holding)
    victim.computed = 0
    waiting.appendleft(victim)
    return victim


def _admit(model: EngineModel, blocks: KvBlocks, sequence: Sequence, budget: int, at: float) -> int | None:
    """How many tokens of it this step computes; None when there are no blocks for them."""
    request, block_tokens = sequence.request, model.limits.block_tokens
    target = request.prompt_tokens + sequence.generated
    # The last token is always computed: without it there would be nothing to sample from.
    names = request.names(0, (target - 1) // block_tokens)
    hits = blocks.hits(names, len(names))
    chunk = min(target - hits * block_tokens, budget)
    wanted = model.blocks_for(hits * block_tokens + chunk) - hits
    if wanted > blocks.free_count - blocks.idle_among(names, hits):
        return None
    sequence.holding = blocks.hold(names, hits)
    sequence.computed, sequence.prefill_until = hits * block_tokens, target
    blocks.grow(sequence.holding, wanted)
    if sequence.cached_tokens is None:
        sequence.cached_tokens, sequence.admitted_at = hits * block_tokens, at
    return chunk


def steps_until_full(model: EngineModel, blocks: KvBlocks, decoding: list[Sequence], steps_max: int) -> int:
    """For how many steps, the one that is scheduled already among them, there are blocks for all."""

    def wanted(steps: int) -> int:
        return sum(model.blocks_for(each.computed + steps) - each.holding.count for each in decoding)

    if wanted(steps_max) <= blocks.free_count:
        return steps_max
    enough, over = 1, steps_max
    while over - enough > 1:
        middle = (enough + over) // 2
        enough, over = (middle, over) if wanted(middle) <= blocks.free_count else (enough, middle)
    return enough
