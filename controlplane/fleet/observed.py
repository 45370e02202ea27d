"""What the agents report: nodes, devices, engines, their counters.

Made by `rpc.codecs` from the wire and by the simulation; read by policies, services and history. `None` always means "not
known", never zero: a decision that needs the figure must say what it does without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from controlplane.fleet.inside import EngineInside, ModelShape, RecomputeBill, ResidencySummary
from controlplane.fleet.sources import Source


class Trust(Enum):
    """How far what a node last reported can be trusted, by its age."""

    FRESH = "fresh"
    AGEING = "ageing"
    STALE = "stale"


class EngineState(Enum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKING_OFF = "backing_off"
    FAILED = "failed"


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Both roofs of a device's roofline for one dtype."""

    dtype: str
    flops_per_second: float | None
    bytes_per_second: float | None
    source: Source
    measured_at: datetime | None = None
    disturbed: bool = False  # measured while an engine ran on the node: too low

    @property
    def ridge_flops_per_byte(self) -> float | None:
        """Peak FLOP/s over memory bandwidth: below it a step is memory-bound, above it compute-bound."""
        if self.flops_per_second is None or not self.bytes_per_second:
            return None
        return self.flops_per_second / self.bytes_per_second


@dataclass(frozen=True, slots=True)
class Device:
    device_id: str
    kind: str
    family: str
    memory_bytes: int | None = None
    driver_version: str = ""
    compute_capability: str = ""
    ceilings: tuple[Ceiling, ...] = ()
    uuid: str = ""  # of this very board; "" where there is none


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bucket (not cumulative), one more than bounds: the last is all that lies above the last bound."""

    upper_bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """Totals since the start of the engine's process (`instance_id`), without the agent's own canaries."""

    prompt_tokens: int | None = None
    generation_tokens: int | None = None
    steps: int | None = None
    step_tokens: int | None = None
    prefix_query_tokens: int | None = None
    prefix_hit_tokens: int | None = None
    preemptions: int | None = None
    requests_finished: int | None = None
    flops: float | None = None
    bytes: float | None = None
    ttft_seconds: Histogram | None = None
    inter_token_seconds: Histogram | None = None


@dataclass(frozen=True, slots=True)
class EngineGauges:
    kv_capacity_tokens: int | None = None
    kv_used_tokens: int | None = None  # held by live requests only
    running: int | None = None
    waiting: int | None = None


@dataclass(frozen=True, slots=True)
class EngineReport:
    """One engine, as its agent last told it."""

    engine_id: str
    generation: int
    instance_id: str
    model: str
    state: EngineState
    state_since: datetime | None = None
    stage: str = ""
    reason: str = ""
    log_tail: tuple[str, ...] = ()
    endpoint: str = ""  # "host:port"
    device_ids: tuple[str, ...] = ()
    engine_version: str = ""
    restart_count: int = 0
    retry_at: datetime | None = None
    context_tokens_max: int | None = None
    served_paths: tuple[str, ...] = ()
    dtype: str = ""
    gauges: EngineGauges = field(default_factory=EngineGauges)
    counters: EngineCounters = field(default_factory=EngineCounters)
    measured_at: datetime | None = None  # by the node's clock
    pid: int = 0
    shape: ModelShape | None = None
    inside: EngineInside | None = None  # None: nothing listens inside this engine
    recompute: tuple[RecomputeBill, ...] = ()
    residency: ResidencySummary | None = None  # None: this engine does not tell
    adapters: tuple[str, ...] = ()  # LoRA adapters that it serves beside its model


class FigureSource(Enum):
    """Who told the figures of a working point."""

    PLUGIN = "plugin"  # from inside the engine, step by step
    METRICS = "metrics"  # the engine's own /metrics


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """What an engine does now, derived from two readings of its counters (`fleet.rates`)."""

    window_seconds: float
    batch_tokens_per_step: float | None = None
    prompt_tokens_per_second: float | None = None
    generation_tokens_per_second: float | None = None
    flops_per_second: float | None = None
    bytes_per_second: float | None = None
    intensity_flops_per_byte: float | None = None
    prefix_hit_ratio: float | None = None
    ttft_seconds_p50: float | None = None
    ttft_seconds_p95: float | None = None
    inter_token_seconds_p50: float | None = None
    inter_token_seconds_p95: float | None = None
    preemptions_per_second: float | None = None
    source: FigureSource = FigureSource.METRICS  # of what the steps did; latencies and hits are always of /metrics
    running_per_step: float | None = None  # requests in the batch of a step, on average
    prefill_tokens_per_second: float | None = None  # computed, so without those found in the cache
    decode_tokens_per_second: float | None = None
    busy_ratio: float | None = None  # of the window, in which there was work


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node tells of itself when its session opens."""

    agent_version: str = ""
    boot_id: str = ""
    os: str = ""
    devices: tuple[Device, ...] = ()
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeLocation:
    """Where a node is; told at enrolment and kept."""

    provider: str
    region: str
    zone: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
