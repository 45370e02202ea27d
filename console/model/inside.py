"""What is known of an engine from inside it, as an operator sees it: frozen rows, and what follows from them.

`console.link.inside_codec` makes them from the wire. `None` always means "not known": a dash, never 0.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class InsideState(Enum):
    ACTIVE = "active"  # the plug-in speaks
    DEGRADED = "degraded"  # some of its interfaces are not as expected; figures come from /metrics
    SILENT = "silent"  # nothing was heard of it yet, or no more
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ModelShapeRow:
    parameters_count: int | None = None
    active_parameters_count: int | None = None
    layers_count: int | None = None
    hidden_size: int | None = None
    attention_heads_count: int | None = None
    kv_heads_count: int | None = None
    head_size: int | None = None
    vocabulary_size: int | None = None
    weights_bytes: int | None = None
    kv_block_tokens: int | None = None
    kv_blocks_count: int | None = None
    kv_bytes_per_token: float | None = None
    sequences_max: int | None = None
    batched_tokens_max: int | None = None
    tensor_parallel: int | None = None


@dataclass(frozen=True, slots=True)
class StepTotalsRow:
    """From the start of the engine's process."""

    steps_total: int
    prefill_tokens_total: int
    decode_tokens_total: int
    running_total: int
    waiting_total: int
    flops_total: float
    read_bytes_total: float
    write_bytes_total: float
    busy_seconds_total: float
    preemptions_total: int
    prefill_flops_total: float
    prefill_seconds_total: float


@dataclass(frozen=True, slots=True)
class InsideRow:
    state: InsideState
    note: str  # why it is not active
    plugin_version: str
    steps: StepTotalsRow | None
    measured_at: datetime | None
    records_dropped_total: int


@dataclass(frozen=True, slots=True)
class BillRow:
    """What recomputing evicted prefixes has cost one tenant since the start of the engine's process."""

    tenant: str  # "": tenants beyond the largest, and requests without one
    tokens_total: int
    flops_total: float | None
    seconds_total: float | None
    seconds_source: str


@dataclass(frozen=True, slots=True)
class ResidencyRow:
    version: int
    chunks_count: int
    blocks_count: int
    complete: bool


def whole_bill(bills: tuple[BillRow, ...]) -> BillRow | None:
    """Of all tenants together; a sum of which a part is not known is not known. None: nothing was told."""
    if not bills:
        return None
    flops = [bill.flops_total for bill in bills if bill.flops_total is not None]
    seconds = [bill.seconds_total for bill in bills if bill.seconds_total is not None]
    sources = {bill.seconds_source for bill in bills}
    return BillRow(
        tenant="",
        tokens_total=sum(bill.tokens_total for bill in bills),
        flops_total=sum(flops) if len(flops) == len(bills) else None,
        seconds_total=sum(seconds) if len(seconds) == len(bills) else None,
        seconds_source=sources.pop() if len(sources) == 1 else "mixed",
    )
