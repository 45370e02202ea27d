"""What is remembered: engine samples, fleet events, and the rows that answer questions about the past.

Made by services, written and read by `storage`. Names of nodes, providers and models are copied into every row, so that
history outlives what it names.
"""

from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.observed import Severity


@dataclass(frozen=True, slots=True)
class EngineSample:
    """One reading of one engine. `*_total` count from the start of the process `instance_id`."""

    sampled_at: datetime  # by the control plane's clock
    engine_id: str
    instance_id: str
    node: str
    provider: str
    region: str
    model: str
    state: str
    kv_capacity_tokens: int | None = None
    kv_used_tokens: int | None = None
    running_count: int | None = None
    waiting_count: int | None = None
    inflight_count: int | None = None
    prompt_tokens_total: int | None = None
    generation_tokens_total: int | None = None
    steps_total: int | None = None
    step_tokens_total: int | None = None
    prefix_query_tokens_total: int | None = None
    prefix_hit_tokens_total: int | None = None
    preemptions_total: int | None = None
    requests_finished_total: int | None = None
    flops_total: float | None = None
    bytes_total: float | None = None
    ttft_seconds_sum_total: float | None = None
    ttft_count_total: int | None = None
    kv_headroom_tokens: int | None = None
    resident_chunks_count: int | None = None
    inside_steps_total: int | None = None
    inside_running_total: int | None = None  # running requests, summed over those steps
    prefill_tokens_total: int | None = None
    decode_tokens_total: int | None = None
    busy_seconds_total: float | None = None
    recompute_tokens_total: int | None = None
    recompute_flops_total: float | None = None
    recompute_seconds_total: float | None = None
    covers_seconds: float | None = None  # the time that it stands for: since the one before, at most twice the interval
    devices_count: int | None = None  # that the engine holds


@dataclass(frozen=True, slots=True)
class DeviceSample:
    """One reading of one device, and which engine had it."""

    sampled_at: datetime  # by the control plane's clock
    node: str
    device_id: str
    provider: str
    region: str
    device_kind: str
    engine_id: str = ""  # "": no engine has it
    model: str = ""
    engine_ready: bool = False
    covers_seconds: float | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    weights_bytes: int | None = None
    kv_cache_bytes: int | None = None
    activations_bytes: int | None = None
    other_bytes: int | None = None
    free_bytes: int | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    compute_clock_hertz: float | None = None
    throttled: bool | None = None
    faults_count: int | None = None


@dataclass(frozen=True, slots=True)
class NodeSample:
    """One look at one node, whether or not it is heard of: silence is history too."""

    sampled_at: datetime  # by the control plane's clock
    node: str
    provider: str
    region: str
    connected: bool
    trust: str
    cordoned: bool
    simulated: bool
    agent_version: str = ""
    covers_seconds: float | None = None
    devices_count: int | None = None
    placed_devices_count: int | None = None
    engines_count: int | None = None
    ready_engines_count: int | None = None
    clock_error_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RecomputeSample:
    """One tenant's recompute bill at one engine. `*_total` count from the start of the process `instance_id`."""

    sampled_at: datetime  # by the control plane's clock
    engine_id: str
    instance_id: str
    tenant: str
    node: str
    provider: str
    region: str
    model: str
    tokens_total: int
    flops_total: float | None = None
    seconds_total: float | None = None


@dataclass(frozen=True, slots=True)
class AdmissionCount:
    """What became of the requests of one tenant for one model that came in one minute, as one daemon saw it end.

    offered = admitted + refused + left. What has not ended yet is in none of them.
    """

    minute_at: datetime
    boot_id: str
    tenant: str  # "": the key was not accepted
    model: str  # one of the fleet's, or "other"
    reason: str  # why they were refused; "": they were not
    offered_count: int = 0
    admitted_count: int = 0
    refused_count: int = 0
    left_count: int = 0
    completed_count: int = 0  # of those admitted
    failed_count: int = 0  # likewise
    queue_seconds_sum: float | None = None  # at the gateway, of those admitted
    first_byte_seconds_sum: float | None = None
    first_byte_count: int | None = None


@dataclass(frozen=True, slots=True)
class FleetEvent:
    """Something that happened, for the event log. `event_id` is 0 until storage has given it one."""

    at: datetime
    severity: Severity
    kind: str
    message: str
    node: str = ""
    engine_id: str = ""
    model: str = ""
    actor: str = "system"
    event_id: int = 0
    device_id: str = ""
    action: str = ""  # for people: what to do about it


@dataclass(frozen=True, slots=True)
class EngineHistoryRow:
    """One engine in one bucket of time; tokens and counts are those of the bucket."""

    bucket_at: datetime
    engine_id: str
    node: str
    provider: str
    region: str
    model: str
    samples_count: int
    kv_used_ratio_max: float | None = None
    kv_used_ratio_mean: float | None = None
    running_count_mean: float | None = None
    waiting_count_max: float | None = None
    prompt_tokens: int | None = None
    generation_tokens: int | None = None
    batch_tokens_per_step: float | None = None
    intensity_flops_per_byte: float | None = None
    prefix_hit_ratio: float | None = None
    preemptions_count: int | None = None
    ttft_seconds_mean: float | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what from where, and how it ended."""

    at: datetime
    actor: str
    action: str
    target: str
    detail: str
    outcome: str
    peer: str = ""
    plan: str = ""  # the steps as they were shown to who asked for them, a line each
