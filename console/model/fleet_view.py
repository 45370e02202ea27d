"""The fleet as an operator sees it: frozen rows, and one view that holds them.

`console.link.codec` makes these from the wire, `console.model.apply` folds updates into a view, screens and commands
read them. Nothing here does I/O or reads a clock. `None` always means "not known": it is shown as a dash, never as 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from console.model.hardware import DeviceHealthRow, MemoryLedgerRow
from console.model.inside import BillRow, InsideRow, ModelShapeRow, ResidencyRow


class Trust(Enum):
    """How far a figure can be trusted, by its age."""

    FRESH = "fresh"
    AGEING = "ageing"
    STALE = "stale"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


class EngineState(Enum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKING_OFF = "backing_off"
    FAILED = "failed"
    UNKNOWN = "unknown"


class DesiredState(Enum):
    RUNNING = "running"
    DRAINED = "drained"
    REMOVED = "removed"
    UNKNOWN = "unknown"


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class CeilingRow:
    dtype: str
    flops_per_second: float | None
    bytes_per_second: float | None
    source: str  # measured, configured, table, assumed
    measured_at: datetime | None
    disturbed: bool = False  # measured while an engine ran on the node: too low


@dataclass(frozen=True, slots=True)
class DeviceRow:
    device_id: str
    kind: str
    family: str
    memory_bytes: int | None
    driver_version: str
    compute_capability: str
    ceilings: tuple[CeilingRow, ...]
    uuid: str = ""  # of this very board; "" where there is none


@dataclass(frozen=True, slots=True)
class NodeRow:
    name: str
    provider: str
    region: str
    zone: str
    labels: Mapping[str, str]
    agent_version: str
    connected: bool
    cordoned: bool
    cordon_reason: str
    trust: Trust
    last_report_at: datetime | None  # by the daemon's clock
    devices: tuple[DeviceRow, ...]
    clock_error_seconds: float | None
    os: str
    certificate_not_after: datetime | None
    health: tuple[DeviceHealthRow, ...] = ()  # of the devices that tell
    memory: tuple[MemoryLedgerRow, ...] = ()  # likewise
    simulated: bool = False  # no machine at all: its engines are driven by the engine model


@dataclass(frozen=True, slots=True)
class WorkingPointRow:
    """What an engine does now, from two readings of its counters."""

    window_seconds: float
    batch_tokens_per_step: float | None
    prompt_tokens_per_second: float | None
    generation_tokens_per_second: float | None
    flops_per_second: float | None
    bytes_per_second: float | None
    intensity_flops_per_byte: float | None
    prefix_hit_ratio: float | None
    ttft_seconds_p50: float | None
    ttft_seconds_p95: float | None
    inter_token_seconds_p50: float | None
    inter_token_seconds_p95: float | None
    preemptions_per_second: float | None
    source: str = ""  # plugin, metrics: who told of batch, tokens computed, FLOPs, bytes and preemptions
    running_count_mean: float | None = None  # requests in the batch of a step
    prefill_tokens_per_second: float | None = None  # computed, so without those found in the cache
    decode_tokens_per_second: float | None = None
    busy_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class EngineRow:
    engine_id: str
    node: str
    provider: str
    region: str
    model: str
    state: EngineState
    stage: str
    reason: str
    log_tail: tuple[str, ...]
    endpoint: str
    device_ids: tuple[str, ...]
    engine_version: str
    restart_count: int
    state_since: datetime | None
    retry_at: datetime | None
    context_tokens_max: int | None
    dtype: str
    kv_capacity_tokens: int | None
    kv_used_tokens: int | None
    running: int | None
    waiting: int | None
    prompt_tokens_total: int | None
    generation_tokens_total: int | None
    preemptions_total: int | None
    requests_finished_total: int | None
    trust: Trust
    last_report_at: datetime | None
    working_point: WorkingPointRow | None
    ridge_flops_per_byte: float | None
    ridge_source: str
    inflight: int
    routable: bool
    not_routable_reason: str
    measured_at: datetime | None = None  # when its counters were read, by its node's clock
    shape: ModelShapeRow | None = None
    inside: InsideRow | None = None  # None: nothing listens inside this engine
    recompute: tuple[BillRow, ...] = ()  # of each tenant
    residency: ResidencyRow | None = None  # None: this engine does not tell
    residency_agrees: bool | None = None  # what the control plane holds of its prefixes adds up to what it reports
    residency_held_chunks_count: int | None = None  # that the control plane holds
    adapters: tuple[str, ...] = ()  # LoRA adapters that it serves beside its model

    @property
    def kv_used_ratio(self) -> float | None:
        """Share of the KV cache held by live requests, 0 to 1; None when either part is unknown."""
        if self.kv_capacity_tokens is None or self.kv_used_tokens is None or self.kv_capacity_tokens == 0:
            return None
        return self.kv_used_tokens / self.kv_capacity_tokens


@dataclass(frozen=True, slots=True)
class PlacementRow:
    placement_id: str
    deployment: str
    model: str
    node: str
    device_ids: tuple[str, ...]
    generation: int
    observed_generation: int | None
    desired: DesiredState
    source: str
    engine_args: tuple[str, ...]
    created_at: datetime | None
    created_by: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    name: str
    engines_total: int
    engines_routable: int
    kv_capacity_tokens: int | None
    kv_used_tokens: int | None
    waiting: int | None
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventRow:
    event_id: int
    at: datetime
    severity: Severity
    kind: str
    message: str
    node: str
    engine_id: str
    model: str
    actor: str
    device_id: str = ""
    action: str = ""  # what to do about it


@dataclass(frozen=True, slots=True)
class ServerRow:
    boot_id: str
    version: str
    leader_epoch: int
    started_at: datetime | None
    database: str
    gateway_address: str
    gateway_state: str
    caller_name: str
    caller_role: str
    samples_waiting: int
    samples_dropped_total: int
    fresh_seconds: float
    stale_seconds: float
    lost_seconds: float
    database_away_since: datetime | None = None  # None: the database is written to
    database_problem: str = ""  # for people, while it is not
    events_waiting: int = 0
    events_dropped_total: int = 0


class Connection(Enum):
    """What the console can say of its own link."""

    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"  # what is known stays on screen, marked
    REFUSED = "refused"  # wrong credentials or role: retrying does not help


@dataclass(frozen=True, slots=True)
class FleetView:
    """All that a console knows at one moment. Replaced whole, never changed in place."""

    boot_id: str = ""
    cursor: int = 0
    now: datetime | None = None  # the daemon's clock at the last update
    nodes: Mapping[str, NodeRow] = field(default_factory=dict)
    engines: Mapping[str, EngineRow] = field(default_factory=dict)
    placements: Mapping[str, PlacementRow] = field(default_factory=dict)
    models: Mapping[str, ModelRow] = field(default_factory=dict)
    events: tuple[EventRow, ...] = ()  # oldest first, bounded
    server: ServerRow | None = None
