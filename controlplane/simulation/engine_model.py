"""One engine as arithmetic: FLOPs and bytes of a step, the time that it takes, and the KV cache that it needs. Pure.

Read by `simulated_engine`, by the agent's simulated nodes, and by whatever predicts a real engine. Every figure that could
be fitted to a real engine is an explicit parameter here (`StepCosts`); nothing is tuned inside a formula. It never guesses:
a device without ceilings cannot be made into an engine.

The formulas are the usual ones of the roofline model: a step takes as long as the slower of its arithmetic and its memory
traffic, and a little more. `N` are the parameters that one token uses, `L` layers, `n_q` query heads, `d` the head size:

* decode of one token: `2·N + 4·L·n_q·d·context` FLOPs;
* prefill of `S` tokens from nothing: `2·N·S + 2·L·n_q·d·S²` FLOPs (causal: half of the square);
* KV of one token: `2·L·n_kv·d·bytes`;
* bytes of a step: the weights once, the KV of every running sequence read, the new tokens' KV written.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a model's cost depends on."""

    parameters_count: int  # all of them, which lie in memory
    layers_count: int
    attention_heads_count: int
    kv_heads_count: int
    head_size: int
    hidden_size: int
    vocabulary_size: int
    weight_bytes_per_parameter: float = 2.0
    kv_bytes_per_value: float = 2.0
    active_parameters_count: int | None = None  # that one token uses; None: all of them (no mixture of experts)
    context_tokens_max: int = 8192
    # Set for models that cache a latent vector instead of keys and values (MLA): its width, in values a token and layer.
    latent_kv_size: int | None = None

    def __post_init__(self) -> None:
        whole = (
            self.parameters_count,
            self.layers_count,
            self.attention_heads_count,
            self.kv_heads_count,
            self.head_size,
        )
        if min(whole) < 1 or self.kv_heads_count > self.attention_heads_count:
            raise ValueError("a model has at least one parameter, layer and head, and no more KV heads than heads")

    @property
    def active_count(self) -> int:
        return self.active_parameters_count or self.parameters_count

    @property
    def weights_bytes(self) -> float:
        return self.parameters_count * self.weight_bytes_per_parameter

    @property
    def attention_flops_per_pair(self) -> float:
        """For one token that looks at one token of context: two products of `d` multiply-adds in every head and layer."""
        return 4.0 * self.layers_count * self.attention_heads_count * self.head_size

    def kv_bytes_per_token(self, tensor_parallel: int = 1) -> float:
        """On all devices together. A rank holds at least one KV head; a latent is held by every rank."""
        if self.latent_kv_size is not None:
            return self.layers_count * self.latent_kv_size * self.kv_bytes_per_value * tensor_parallel
        heads = max(self.kv_heads_count, tensor_parallel)
        return 2.0 * self.layers_count * heads * self.head_size * self.kv_bytes_per_value


@dataclass(frozen=True, slots=True)
class DeviceCeilings:
    """What one device reaches for the engine's dtype: measured by a probe, or from a table."""

    flops_per_second: float
    bytes_per_second: float
    memory_bytes: int

    def __post_init__(self) -> None:
        if not (self.flops_per_second > 0 and self.bytes_per_second > 0 and self.memory_bytes > 0):
            raise ValueError("a device's ceilings and its memory are more than zero")

    @property
    def ridge_flops_per_byte(self) -> float:
        return self.flops_per_second / self.bytes_per_second


@dataclass(frozen=True, slots=True)
class StepCosts:
    """How far an engine falls short of its devices' ceilings: what a fit to a real engine would find."""

    compute_efficiency_ratio: float = 0.7
    memory_efficiency_ratio: float = 0.8
    step_overhead_seconds: float = 0.0015  # scheduling, launches, sampling: whatever does not grow with the batch
    sequence_overhead_seconds: float = 0.00001  # sampling and bookkeeping of every sequence in the batch

    def __post_init__(self) -> None:
        ratios = (self.compute_efficiency_ratio, self.memory_efficiency_ratio)
        if not all(0 < ratio <= 1 for ratio in ratios):
            raise ValueError("an efficiency is more than 0 and at most 1")
        if self.step_overhead_seconds <= 0 or self.sequence_overhead_seconds < 0:
            raise ValueError("a step costs some time whatever is in it, and a sequence no less than nothing")


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What an engine was started with, in vLLM's words."""

    sequences_max: int = 256  # --max-num-seqs
    batched_tokens_max: int = 8192  # --max-num-batched-tokens
    block_tokens: int = 16  # --block-size
    memory_utilization_ratio: float = 0.9  # --gpu-memory-utilization
    tensor_parallel: int = 1

    def __post_init__(self) -> None:
        if min(self.sequences_max, self.batched_tokens_max, self.block_tokens, self.tensor_parallel) < 1:
            raise ValueError("an engine's limits are at least 1")
        if not 0 < self.memory_utilization_ratio <= 1:
            raise ValueError("the share of memory that an engine takes is more than 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Work:
    """What a step, or a sum of steps, does."""

    flops: float
    read_bytes: float
    write_bytes: float

    @property
    def bytes(self) -> float:
        return self.read_bytes + self.write_bytes

    @property
    def intensity_flops_per_byte(self) -> float:
        return self.flops / self.bytes if self.bytes else 0.0


@dataclass(frozen=True, slots=True)
class EngineModel:
    """A model on so many equal devices, with its limits. `activations_bytes` are held beside weights and KV, on each."""

    shape: ModelShape
    device: DeviceCeilings
    limits: EngineLimits = EngineLimits()
    costs: StepCosts = StepCosts()
    activations_bytes: float = 2.0e9

    @property
    def reached_flops_per_second(self) -> float:
        return self.device.flops_per_second * self.limits.tensor_parallel * self.costs.compute_efficiency_ratio

    @property
    def reached_bytes_per_second(self) -> float:
        return self.device.bytes_per_second * self.limits.tensor_parallel * self.costs.memory_efficiency_ratio

    @property
    def kv_bytes_per_token(self) -> float:
        return self.shape.kv_bytes_per_token(self.limits.tensor_parallel)

    @property
    def kv_blocks_count(self) -> int:
        """Blocks of KV that fit beside the weights; 0 when the model does not fit at all."""
        devices = self.limits.tensor_parallel
        room = self.device.memory_bytes * self.limits.memory_utilization_ratio - self.activations_bytes
        left = room * devices - self.shape.weights_bytes
        return max(0, math.floor(left / (self.kv_bytes_per_token * self.limits.block_tokens)))

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.limits.block_tokens)

    def prefill_flops(self, tokens: int, context_before: int = 0) -> float:
        """Of `tokens` new ones behind a context that is in the cache. Causal: each sees those before it, and itself."""
        pairs = tokens * context_before + tokens * tokens / 2
        return 2.0 * self.shape.active_count * tokens + self.shape.attention_flops_per_pair * pairs

    def decode_flops(self, contexts_tokens: int, sequences: int) -> float:
        """One token for each of `sequences`, whose contexts have so many tokens in all."""
        return 2.0 * self.shape.active_count * sequences + self.shape.attention_flops_per_pair * contexts_tokens

    def step_seconds(self, work: Work, sequences: int) -> float:
        """The slower of arithmetic and memory, and what a step costs besides."""
        slower = max(work.flops / self.reached_flops_per_second, work.bytes / self.reached_bytes_per_second)
        return slower + self.costs.step_overhead_seconds + self.costs.sequence_overhead_seconds * sequences

    def prefill_work(self, tokens: int, context_before: int = 0) -> Work:
        """Of one step that computes `tokens` of one request and nothing else."""
        kv = self.kv_bytes_per_token
        read = self.shape.weights_bytes + kv * context_before
        return Work(self.prefill_flops(tokens, context_before), read, kv * tokens)

    def prefill_seconds(self, tokens: int, context_before: int = 0) -> float:
        """Until `tokens` uncached ones behind a cached context are computed, alone, in chunks that fit a step.

        This is what a miss in the prefix cache costs: it grows with the square of the context.
        """
        seconds, done = 0.0, 0
        while done < tokens:
            chunk = min(self.limits.batched_tokens_max, tokens - done)
            seconds += self.step_seconds(self.prefill_work(chunk, context_before + done), 1)
            done += chunk
        return seconds

    def decode_work(self, sequences: int, contexts_tokens: int) -> Work:
        """Of one step in which every sequence gets one token; `contexts_tokens` are all their tokens before it."""
        kv = self.kv_bytes_per_token
        flops = self.decode_flops(contexts_tokens + sequences, sequences)
        return Work(flops, self.shape.weights_bytes + kv * contexts_tokens, kv * sequences)

    def decode_step_seconds(self, sequences: int, contexts_tokens: int) -> float:
        return self.step_seconds(self.decode_work(sequences, contexts_tokens), sequences)
