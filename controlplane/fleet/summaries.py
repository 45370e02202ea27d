"""What is kept of an engine in SQL so that a restarted daemon knows where engines were. Pure.

Written by `services.record_history`, read once at start by `services.restore_fleet`. What it says about load is of the last
report and for people who ask SQL how the fleet is now; nothing decides on it.
"""

from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.observed import EngineGauges, EngineReport, EngineState, NodeLocation, WorkingPoint
from controlplane.fleet.snapshot import EngineObserved


@dataclass(frozen=True, slots=True)
class EngineSummary:
    """One engine as last heard of."""

    engine_id: str
    node: str
    model: str
    generation: int
    instance_id: str
    state: EngineState
    endpoint: str
    last_report_at: datetime
    served_paths: tuple[str, ...] = ()
    context_tokens_max: int | None = None
    dtype: str = ""
    kv_capacity_tokens: int | None = None
    provider: str = ""
    region: str = ""
    devices_count: int | None = None
    kv_used_tokens: int | None = None
    running_count: int | None = None
    waiting_count: int | None = None
    inflight_count: int | None = None
    kv_headroom_tokens: int | None = None
    generation_tokens_per_second: float | None = None
    batch_tokens_per_step: float | None = None
    intensity_flops_per_byte: float | None = None
    ridge_flops_per_byte: float | None = None
    prefix_hit_ratio: float | None = None
    ttft_seconds_p50: float | None = None
    ttft_seconds_p95: float | None = None

    def as_report(self) -> EngineReport:
        """The report that this summary stands for; what only a fresh report can tell is unknown."""
        return EngineReport(
            engine_id=self.engine_id,
            generation=self.generation,
            instance_id=self.instance_id,
            model=self.model,
            state=self.state,
            endpoint=self.endpoint,
            served_paths=self.served_paths,
            context_tokens_max=self.context_tokens_max,
            dtype=self.dtype,
            gauges=EngineGauges(kv_capacity_tokens=self.kv_capacity_tokens),
        )


_IDLE = WorkingPoint(0.0)


def engine_summary(
    engine: EngineObserved,
    place: NodeLocation,
    devices_count: int | None,
    inflight_count: int | None,
    kv_headroom_tokens: int | None,
    ridge_flops_per_byte: float | None,
) -> EngineSummary:
    """The engine as it was last heard of; figures of its work are None while it does not work."""
    report, gauges, point = engine.report, engine.report.gauges, engine.working_point or _IDLE
    return EngineSummary(
        engine_id=report.engine_id,
        node=engine.node,
        model=report.model,
        generation=report.generation,
        instance_id=report.instance_id,
        state=report.state,
        endpoint=report.endpoint,
        last_report_at=engine.received_at,
        served_paths=report.served_paths,
        context_tokens_max=report.context_tokens_max,
        dtype=report.dtype,
        kv_capacity_tokens=gauges.kv_capacity_tokens,
        provider=place.provider,
        region=place.region,
        devices_count=devices_count,
        kv_used_tokens=gauges.kv_used_tokens,
        running_count=gauges.running,
        waiting_count=gauges.waiting,
        inflight_count=inflight_count,
        kv_headroom_tokens=kv_headroom_tokens,
        generation_tokens_per_second=point.generation_tokens_per_second,
        batch_tokens_per_step=point.batch_tokens_per_step,
        intensity_flops_per_byte=point.intensity_flops_per_byte,
        ridge_flops_per_byte=ridge_flops_per_byte,
        prefix_hit_ratio=point.prefix_hit_ratio,
        ttft_seconds_p50=point.ttft_seconds_p50,
        ttft_seconds_p95=point.ttft_seconds_p95,
    )
