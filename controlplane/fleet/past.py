"""The fleet as it was, as far as history knows: what `services.recall_fleet` reads from minutes and hours. Pure.

A minute's row tells what was read in it, not what held for all of it. None means that it is not known any more, or never was.
"""

from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.history import FleetEvent


@dataclass(frozen=True, slots=True)
class PastEngine:
    """One engine in one minute or hour; `covered_seconds` of it were heard."""

    engine_id: str
    node: str
    provider: str
    region: str
    model: str
    state: str  # the last one in it
    covered_seconds: float | None
    kv_capacity_tokens: int | None
    kv_used_ratio_mean: float | None
    kv_used_ratio_max: float | None
    running_count_mean: float | None
    waiting_count_mean: float | None
    waiting_count_max: int | None
    inflight_count_mean: float | None
    prompt_tokens: int | None
    generation_tokens: int | None
    steps_count: int | None
    step_tokens: int | None
    flops: float | None
    bytes: float | None
    prefix_query_tokens: int | None
    prefix_hit_tokens: int | None
    preemptions_count: int | None
    busy_seconds: float | None


@dataclass(frozen=True, slots=True)
class PastDevice:
    node: str
    device_id: str
    device_kind: str
    engine_id: str  # the last one that held it; "": none
    memory_total_bytes: int | None
    memory_used_bytes_max: int | None
    power_watts_mean: float | None
    temperature_celsius_max: float | None


@dataclass(frozen=True, slots=True)
class PastNode:
    node: str
    provider: str
    region: str
    trust: str
    agent_version: str
    connected: bool
    cordoned: bool
    simulated: bool
    clock_error_seconds: float | None


@dataclass(frozen=True, slots=True)
class PastFleet:
    """What is known of [begins_at, ends_at)."""

    begins_at: datetime
    ends_at: datetime
    engines: tuple[PastEngine, ...]
    devices: tuple[PastDevice, ...]
    nodes: tuple[PastNode, ...]
    events: tuple[FleetEvent, ...]  # the last ones before its end, oldest first

    @property
    def resolution_seconds(self) -> float:
        return (self.ends_at - self.begins_at).total_seconds()
