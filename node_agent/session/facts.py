"""What an agent knows of its node: devices, engines and what they report.

Frozen values that the probes and the supervisor make, the session machine reasons about, and `node_agent.link.codec`
puts on the wire. Nothing here does I/O or reads a clock. `None` always means "not known", never zero.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from node_agent.session.inside import EngineInside, ModelShape, RecomputeBill, ResidencySummary
from node_agent.session.values import Severity, Source


class EngineState(Enum):
    """The life of one engine; `supervisor.lifecycle` holds the transitions."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKING_OFF = "backing_off"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a device reaches for one dtype: both roofs of the roofline."""

    dtype: str
    flops_per_second: float | None
    bytes_per_second: float | None
    source: Source
    measured_at: datetime | None = None
    disturbed: bool = False  # measured while an engine ran: too low


@dataclass(frozen=True, slots=True)
class Device:
    device_id: str  # "cuda:0", "cpu:0"
    kind: str  # the vendor's name for it
    family: str  # "cuda", "rocm", "cpu"
    memory_bytes: int | None = None
    driver_version: str = ""
    compute_capability: str = ""
    ceilings: tuple[Ceiling, ...] = ()
    uuid: str = ""  # of this very board, "GPU-…"; "" where there is none


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bucket (not cumulative); one count more than bounds: the last is all that lies above."""

    upper_bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """Totals since the engine's process started, without the agent's own canaries."""

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
    kv_used_tokens: int | None = None
    running: int | None = None
    waiting: int | None = None


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine that this node is to run. The id is the placement's; a new generation replaces the process."""

    engine_id: str
    generation: int
    model: str
    source: str
    engine_args: tuple[str, ...] = ()
    device_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One engine as it is now; what a report carries for it."""

    engine_id: str
    generation: int
    instance_id: str  # new with every process; "" before the first
    model: str
    state: EngineState
    state_since: datetime
    stage: str = ""
    reason: str = ""
    log_tail: tuple[str, ...] = ()
    endpoint: str = ""  # "host:port" as the gateway reaches it
    device_ids: tuple[str, ...] = ()
    engine_version: str = ""
    restart_count: int = 0
    retry_at: datetime | None = None
    context_tokens_max: int | None = None
    served_paths: tuple[str, ...] = ()
    dtype: str = ""
    gauges: EngineGauges = field(default_factory=EngineGauges)
    counters: EngineCounters = field(default_factory=EngineCounters)
    measured_at: datetime | None = None
    pid: int = 0
    shape: ModelShape | None = None
    inside: EngineInside | None = None  # None: nothing listens inside this engine
    recompute: tuple[RecomputeBill, ...] = ()
    residency: ResidencySummary | None = None
    adapters: tuple[str, ...] = ()  # LoRA adapters that it serves beside its model


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """Something worth an operator's eye that is not an engine's state."""

    kind: str
    message: str
    severity: Severity
    occurred_at: datetime
    engine_id: str = ""
    device_id: str = ""
    action: str = ""  # what to do about it
