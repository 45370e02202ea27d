"""One reading of an engine as history keeps it, and its tenants' recompute bills. Pure.

Called by the services that write history. Devices and nodes are in `fleet.hardware_samples`.
"""

from collections.abc import Iterable
from datetime import datetime
from math import isfinite

from controlplane.fleet.history import EngineSample, RecomputeSample
from controlplane.fleet.inside import RecomputeBill
from controlplane.fleet.observed import EngineReport, Histogram


def engine_sample(
    report: EngineReport,
    sampled_at: datetime,
    node: str,
    provider: str,
    region: str,
    inflight_count: int | None,
    kv_headroom_tokens: int | None = None,
    covers_seconds: float | None = None,
    devices_count: int | None = None,
) -> EngineSample:
    gauges, counters = report.gauges, report.counters
    ttft = counters.ttft_seconds
    steps = report.inside.steps if report.inside else None
    bills = report.recompute
    return EngineSample(
        sampled_at=sampled_at,
        engine_id=report.engine_id,
        instance_id=report.instance_id,
        node=node,
        provider=provider,
        region=region,
        model=report.model,
        state=report.state.value,
        kv_capacity_tokens=gauges.kv_capacity_tokens,
        kv_used_tokens=gauges.kv_used_tokens,
        running_count=gauges.running,
        waiting_count=gauges.waiting,
        inflight_count=inflight_count,
        prompt_tokens_total=counters.prompt_tokens,
        generation_tokens_total=counters.generation_tokens,
        steps_total=counters.steps,
        step_tokens_total=counters.step_tokens,
        prefix_query_tokens_total=counters.prefix_query_tokens,
        prefix_hit_tokens_total=counters.prefix_hit_tokens,
        preemptions_total=counters.preemptions,
        requests_finished_total=counters.requests_finished,
        flops_total=counters.flops,
        bytes_total=counters.bytes,
        ttft_seconds_sum_total=ttft.sum if ttft else None,
        ttft_count_total=_count(ttft),
        kv_headroom_tokens=kv_headroom_tokens,
        resident_chunks_count=report.residency.chunks if report.residency else None,
        inside_steps_total=steps.steps if steps else None,
        inside_running_total=steps.running if steps else None,
        prefill_tokens_total=steps.prefill_tokens if steps else None,
        decode_tokens_total=steps.decode_tokens if steps else None,
        busy_seconds_total=steps.busy_seconds if steps else None,
        recompute_tokens_total=sum(bill.tokens for bill in bills) if bills else None,
        recompute_flops_total=_sum(bill.flops for bill in bills) if bills else None,
        recompute_seconds_total=_sum(bill.seconds for bill in bills) if bills else None,
        covers_seconds=covers_seconds,
        devices_count=devices_count,
    )


def recompute_samples(
    report: EngineReport,
    sampled_at: datetime,
    node: str,
    provider: str,
    region: str,
    written: tuple[RecomputeBill, ...],
) -> list[RecomputeSample]:
    """The bills that grew since those that were `written` of this process."""
    before = {bill.tenant: bill for bill in written}
    return [
        RecomputeSample(
            sampled_at=sampled_at,
            engine_id=report.engine_id,
            instance_id=report.instance_id,
            tenant=bill.tenant,
            node=node,
            provider=provider,
            region=region,
            model=report.model,
            tokens_total=bill.tokens,
            flops_total=_finite(bill.flops),
            seconds_total=_finite(bill.seconds),
        )
        for bill in report.recompute
        if bill.tokens and _figures(bill) != _figures(before.get(bill.tenant))
    ]


def _figures(bill: RecomputeBill | None) -> tuple[float | None, ...]:
    return () if bill is None else (bill.tokens, bill.flops, bill.seconds)


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _sum(parts: Iterable[float | None]) -> float | None:
    """None when a part of it is not known, or when there is none."""
    values = list(parts)
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _count(histogram: Histogram | None) -> int | None:
    return None if histogram is None else sum(histogram.counts)
