"""What is known of an engine from inside it: its model's shape, its steps, its recompute bill, its resident prefixes.

Made by `rpc.agent_inside_codec` from the wire; read by `fleet.rates`, history and the operators' rows. `None` always
means "not known", never zero.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from controlplane.fleet.sources import Source


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The model as the engine holds it: what FLOPs, bytes and KV tokens are computed from."""

    parameters: int | None = None
    active_parameters: int | None = None  # per token; fewer than all of them in a mixture of experts
    layers: int | None = None
    hidden_size: int | None = None
    attention_heads: int | None = None
    kv_heads: int | None = None
    head_size: int | None = None
    vocabulary_size: int | None = None
    weights_bytes: int | None = None  # on all devices of the engine together
    kv_block_tokens: int | None = None
    kv_blocks: int | None = None
    kv_bytes_per_token: float | None = None  # on all devices together
    sequences_max: int | None = None  # in one batch
    batched_tokens_max: int | None = None  # in one step
    tensor_parallel: int | None = None


class InsideState(Enum):
    ACTIVE = "active"  # the plug-in speaks
    DEGRADED = "degraded"  # some of its interfaces are not as expected; figures come from /metrics
    SILENT = "silent"  # nothing was heard of it yet, or no more


@dataclass(frozen=True, slots=True)
class StepTotals:
    """Sums over the steps of an engine since the start of its process."""

    steps: int = 0  # that scheduled at least one token
    prefill_tokens: int = 0  # computed
    decode_tokens: int = 0
    running: int = 0  # running requests, summed over the steps: divided by `steps`, the mean batch
    waiting: int = 0  # likewise
    flops: float = 0.0
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    busy_seconds: float = 0.0  # time between steps while there was work
    preemptions: int = 0
    prefill_flops: float = 0.0  # of the steps that computed prompt tokens
    prefill_seconds: float = 0.0  # likewise


@dataclass(frozen=True, slots=True)
class EngineInside:
    state: InsideState
    note: str = ""  # why it is not active, for people
    plugin_version: str = ""
    steps: StepTotals | None = None
    measured_at: datetime | None = None  # by the node's clock
    records_dropped: int = 0  # by the plug-in or the agent, since the start of the process


@dataclass(frozen=True, slots=True)
class RecomputeBill:
    """What recomputing evicted prefixes has cost one tenant since the start of the process."""

    tenant: str  # "": tenants beyond the largest, and requests without one
    tokens: int
    flops: float | None
    seconds: float | None
    seconds_source: Source  # MEASURED: by this engine's own prefill speed


@dataclass(frozen=True, slots=True)
class ResidencySummary:
    """Of which prefixes the engine holds KV, as its agent counts them."""

    version: int  # grows with every change
    chunks: int
    blocks: int
    checksum: int  # of all resident chunk hashes, added up modulo 2^64
    complete: bool  # False: events were lost, something resident may be missing


@dataclass(frozen=True, slots=True)
class ResidencyHeld:
    """What the control plane itself holds of an engine's prefixes."""

    chunks: int
    agrees: bool | None  # with what the engine's agent reports; None: there is nothing to compare with
