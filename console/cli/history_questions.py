"""Questions about the past that people ask often, as SQL over the documented views. Read by `console.cli.history_ask`.

They hold nothing that anybody could not type into `stoker sql`; `--show-sql` prints them. Parameters: :since and :until, and
those of FILTERS. `{engine}`, `{request}`, … stand for the view by minute in short spans; in long ones for hours, and minutes
where the last hours are not computed yet. `{at}` is the time of either.
"""

# ruff: noqa: S608 - statements are put together of constants only; what people type are parameters

from dataclasses import dataclass

FILTERS = ("model", "provider", "node", "tenant", "engine")


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    help: str
    sql: str
    empty: str  # said when there is no row: what to look at next
    filters: tuple[str, ...] = ()
    hours_only: bool = False  # its view knows hours, not minutes


def where(*filters: str, at: str = "{at}") -> str:
    """The span of time, and each filter that was given; an empty one lets everything through."""
    columns = {"engine": "engine_id"}
    chosen = [f"(:{name} = '' OR {columns.get(name, name)} = :{name})" for name in filters]
    return " AND ".join([f"{at} >= :since AND {at} < :until", *chosen])


_ENGINES = ("model", "provider", "node", "engine")
_REQUESTS = ("tenant", "model", "provider", "node", "engine")

_MODELS = f"""SELECT model, provider, COUNT(DISTINCT engine_id) AS engines_count,
  SUM(requests_finished_count) AS requests_count, SUM(prompt_tokens) AS prompt_tokens,
  SUM(generation_tokens) AS generation_tokens,
  SUM(kv_used_ratio_mean * samples_count) / NULLIF(SUM(CASE WHEN kv_used_ratio_mean IS NOT NULL THEN samples_count END), 0)
    AS kv_used_ratio_mean,
  MAX(kv_used_ratio_max) AS kv_used_ratio_max, MAX(waiting_count_max) AS waiting_count_max,
  SUM(step_tokens) * 1.0 / NULLIF(SUM(steps_count), 0) AS batch_tokens_per_step,
  SUM(flops) / NULLIF(SUM(bytes), 0) AS intensity_flops_per_byte,
  SUM(prefix_hit_tokens) * 1.0 / NULLIF(SUM(prefix_query_tokens), 0) AS prefix_hit_ratio,
  SUM(preemptions_count) AS preemptions_count,
  SUM(ttft_seconds_sum) / NULLIF(SUM(ttft_count), 0) AS ttft_seconds_mean
FROM {{engine}} WHERE {where(*_ENGINES)}
GROUP BY model, provider ORDER BY generation_tokens DESC, model, provider"""

_TENANTS = f"""SELECT tenant, model, SUM(requests_count) AS requests_count,
  SUM(completed_count) * 1.0 / NULLIF(SUM(requests_count), 0) AS completed_ratio,
  SUM(prompt_tokens) AS prompt_tokens, SUM(output_tokens) AS output_tokens,
  SUM(cached_tokens) * 1.0 / NULLIF(SUM(prompt_tokens), 0) AS cached_ratio,
  SUM(queue_seconds_sum) / NULLIF(SUM(queue_count), 0) AS queue_seconds_mean,
  SUM(ttft_seconds_sum) / NULLIF(SUM(ttft_count), 0) AS ttft_seconds_mean,
  MAX(ttft_seconds_p99) AS ttft_seconds_p99_max,
  SUM(recompute_tokens) AS recompute_tokens, SUM(recompute_seconds) AS recompute_seconds
FROM {{request}} WHERE {where(*_REQUESTS)}
GROUP BY tenant, model ORDER BY output_tokens DESC, tenant, model"""

_LATENCY = f"""WITH chosen AS (
  SELECT measure, to_seconds, bucket, SUM(requests_count) AS requests_count
  FROM {{latency}} WHERE {where("tenant", "model", "engine")}
  GROUP BY measure, bucket, to_seconds
), ranked AS (
  SELECT measure, to_seconds, bucket, requests_count, SUM(requests_count) OVER (PARTITION BY measure ORDER BY bucket) AS up_to,
    SUM(requests_count) OVER (PARTITION BY measure) AS of_all
  FROM chosen
)
SELECT measure, MAX(of_all) AS requests_count,
  MIN(CASE WHEN up_to >= 0.5 * of_all THEN to_seconds END) AS at_most_p50_seconds,
  MIN(CASE WHEN up_to >= 0.9 * of_all THEN to_seconds END) AS at_most_p90_seconds,
  MIN(CASE WHEN up_to >= 0.99 * of_all THEN to_seconds END) AS at_most_p99_seconds
FROM ranked GROUP BY measure ORDER BY measure"""

_GPU_HOURS = f"""SELECT provider, region, device_kind,
  SUM(covered_device_hours) AS covered_device_hours, SUM(placed_device_hours) AS placed_device_hours,
  SUM(serving_device_hours) AS serving_device_hours, SUM(busy_device_hours) AS busy_device_hours,
  SUM(wasted_device_hours) AS wasted_device_hours, SUM(unknown_device_hours) AS unknown_device_hours,
  SUM(wasted_device_hours) / NULLIF(SUM(wasted_device_hours) + SUM(busy_device_hours), 0) AS wasted_ratio,
  SUM(cost) AS cost, SUM(wasted_cost) AS wasted_cost, MIN(currency) AS currency
FROM gpu_hours_by_provider WHERE {where("provider", at="hour_at")}
GROUP BY provider, region, device_kind ORDER BY wasted_device_hours DESC, provider, region, device_kind"""

_NODES = f"""SELECT node, provider, region, SUM(connected_seconds) / NULLIF(SUM(covered_seconds), 0) AS connected_ratio,
  SUM(cordoned_seconds) / NULLIF(SUM(covered_seconds), 0) AS cordoned_ratio,
  SUM(device_seconds) / 3600 AS device_hours,
  SUM(placed_device_seconds) / NULLIF(SUM(device_seconds), 0) AS placed_ratio
FROM {{node}} WHERE {where("provider", "node")}
GROUP BY node, provider, region ORDER BY connected_ratio, placed_ratio, node"""

_KV = f"""SELECT engine_id, model, provider, COUNT(*) AS minutes_count, SUM(kv_full) AS full_minutes_count,
  MIN(minute_at) AS first_minute_at, MAX(minute_at) AS last_minute_at, MAX(kv_used_ratio_max) AS kv_used_ratio_max,
  MAX(waiting_count_max) AS waiting_count_max, SUM(preemptions_count) AS preemptions_count,
  SUM(recompute_tokens) AS recompute_tokens
FROM kv_pressure_minutes WHERE {where(*_ENGINES, at="minute_at")}
GROUP BY engine_id, model, provider ORDER BY minutes_count DESC, engine_id"""

_RECOMPUTE = f"""SELECT tenant, model, provider, SUM(recompute_tokens) AS recompute_tokens,
  SUM(recompute_seconds) AS recompute_seconds, SUM(recompute_device_hours) AS recompute_device_hours,
  SUM(recompute_flops) AS recompute_flops,
  SUM(recompute_tokens) * 1.0 / NULLIF(SUM(prompt_tokens), 0) AS recompute_ratio
FROM recompute_bill_hours WHERE {where(*_REQUESTS, at="hour_at")}
GROUP BY tenant, model, provider ORDER BY recompute_tokens DESC, tenant, model, provider"""

_ADMISSION = f"""SELECT tenant, model, SUM(offered_count) AS offered_count, SUM(admitted_count) AS admitted_count,
  SUM(refused_count) AS refused_count, SUM(left_count) AS left_count, SUM(waiting_count) AS waiting_count,
  SUM(completed_count) AS completed_count, SUM(failed_count) AS failed_count,
  SUM(refused_count) * 1.0 / NULLIF(SUM(offered_count), 0) AS refused_ratio,
  SUM(first_byte_seconds_mean * first_byte_count) / NULLIF(SUM(first_byte_count), 0) AS first_byte_seconds_mean
FROM admission_minutes WHERE {where("tenant", "model", at="minute_at")}
GROUP BY tenant, model ORDER BY offered_count DESC, tenant, model"""

_REFUSALS = f"""SELECT reason, tenant, model, SUM(refused_count) AS refused_count,
  MIN(minute_at) AS first_minute_at, MAX(minute_at) AS last_minute_at
FROM refusal_minutes WHERE {where("tenant", "model", at="minute_at")}
GROUP BY reason, tenant, model ORDER BY refused_count DESC, reason, tenant, model"""

_CAPACITY = f"""SELECT at, severity, kind, capacity_change, node, engine_id, message
FROM capacity_events WHERE {where("model", "node", "engine", at="at")}
ORDER BY at, event_id"""

_LEASES = """SELECT lease_id, provider, region, devices_count, device_kind, state, starts_at, ends_at, days_left,
  device_hours_left, cost_left, currency
FROM lease_calendar WHERE ends_at >= :since AND starts_at < :until
ORDER BY ends_at, lease_id"""

QUESTIONS = (
    Question(
        "models", "What each model did, at each provider.", _MODELS, "No engine told anything in that span.", _ENGINES
    ),
    Question("tenants", "What each tenant asked for and got.", _TENANTS, "No request ended in that span.", _REQUESTS),
    Question(
        "latency",
        "How long requests waited, to first token and between tokens: quantiles over the whole span.",
        _LATENCY,
        "No request ended in that span.",
        ("tenant", "model", "engine"),
    ),
    Question(
        "gpu-hours",
        "What became of the GPU-hours: busy, wasted, at what cost. By the hour.",
        _GPU_HOURS,
        "No hour of a device is computed in that span: hours are told when they are over.",
        ("provider",),
        hours_only=True,
    ),
    Question(
        "nodes",
        "How long nodes were connected, cordoned, and used.",
        _NODES,
        "No node was enrolled in that span.",
        ("provider", "node"),
    ),
    Question(
        "kv-pressure",
        "When and where the KV cache was short.",
        _KV,
        "The KV cache was never short in that span.",
        _ENGINES,
    ),
    Question(
        "recompute",
        "The recompute bill: who pays for evicted prefixes. By the hour.",
        _RECOMPUTE,
        "Nothing was computed again in that span, as far as whole hours tell.",
        _REQUESTS,
        hours_only=True,
    ),
    Question(
        "admission",
        "What became of the requests that came to the gateway.",
        _ADMISSION,
        "No request came in that span.",
        ("tenant", "model"),
    ),
    Question(
        "refusals",
        "What was refused, and why.",
        _REFUSALS,
        "Nothing was refused in that span.",
        ("tenant", "model"),
    ),
    Question(
        "capacity",
        "What came and went: engines, nodes, placements, leases.",
        _CAPACITY,
        "Nothing came or went in that span.",
        ("model", "node", "engine"),
    ),
    Question("leases", "Leases that held in the span.", _LEASES, "No lease held then: stoker lease list --ended"),
)
