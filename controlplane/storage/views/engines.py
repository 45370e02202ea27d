"""Views of what engines did: by minute, by hour, and the minutes in which the KV cache was short."""

from controlplane.storage.views.view import View, ratio
from controlplane.storage.views.words import HOUR, MINUTE, columns, given

_PLACE = ("node", "provider", "region", "model")
_KV = ("kv_capacity_tokens", "kv_used_tokens_mean", "kv_used_tokens_max", "kv_used_ratio_mean", "kv_used_ratio_max")
_COUNTED = (
    "prompt_tokens",
    "generation_tokens",
    "steps_count",
    "step_tokens",
    "prefix_query_tokens",
    "prefix_hit_tokens",
    "preemptions_count",
    "requests_finished_count",
    "ttft_count",
    "ttft_seconds_sum",
    "flops",
    "bytes",
    "inside_steps_count",
    "inside_running_count",
    "prefill_tokens",
    "decode_tokens",
    "busy_seconds",
    "recompute_tokens",
    "recompute_flops",
    "recompute_seconds",
)
_DERIVED = (
    ("ready_ratio", "share of the covered time in which it was ready", ratio("ready_seconds", "covered_seconds")),
    ("busy_ratio", "share of the covered time in which it had work to do", ratio("busy_seconds", "covered_seconds")),
    (
        "generation_tokens_per_second",
        "tokens written in a second of covered time",
        ratio("generation_tokens", "covered_seconds"),
    ),
    ("batch_tokens_per_step", "mean batch, in tokens", ratio("step_tokens", "steps_count")),
    ("batch_requests_per_step", "mean batch, in requests", ratio("inside_running_count", "inside_steps_count")),
    ("intensity_flops_per_byte", "arithmetic intensity", ratio("flops", "bytes")),
    ("prefix_hit_ratio", "share found in the prefix cache", ratio("prefix_hit_tokens", "prefix_query_tokens")),
    ("ttft_seconds_mean", "mean time to first token", ratio("ttft_seconds_sum", "ttft_count")),
    (
        "recompute_ratio",
        "share of the tokens computed for prompts that had been computed before",
        ratio("recompute_tokens", "prefill_tokens"),
    ),
)


def _rolled(name: str, at: str, meaning: str) -> View:
    return View(
        name,
        f"one row an engine and {at.removesuffix('_at')}",
        (
            *columns("engine_id", at, **{at: meaning}),
            *columns(*_PLACE, "state", "samples_count"),
            *given([("processes_count", "engine processes seen: one more for each restart")]),
            *columns("covered_seconds"),
            *given(
                [
                    ("ready_seconds", "of these: ready to serve"),
                    ("device_seconds", "covered time, times the engine's devices"),
                ]
            ),
            *columns(
                *_KV,
                "running_count_mean",
                "running_count_max",
                "waiting_count_mean",
                "waiting_count_max",
                "inflight_count_mean",
                "inflight_count_max",
                "kv_headroom_tokens_min",
                "resident_chunks_count_max",
                *_COUNTED,
            ),
            *given(_DERIVED),
        ),
        f"FROM rolled_{name}",
    )


ENGINE_MINUTES = _rolled("engine_minutes", "minute_at", MINUTE)
ENGINE_HOURS = _rolled("engine_hours", "hour_at", HOUR)

KV_PRESSURE_MINUTES = View(
    "kv_pressure_minutes",
    "one row an engine and minute in which its KV cache was short: 90 % full or more, requests waiting, or preempted",
    (
        *columns("engine_id", "minute_at", minute_at=MINUTE),
        *columns(*_PLACE, *_KV, "running_count_max", "waiting_count_mean", "waiting_count_max"),
        *columns("preemptions_count", "prompt_tokens", "generation_tokens", "recompute_tokens"),
        *given(
            [
                (
                    "kv_full",
                    "1: the KV cache was 90 % full or more",
                    "CASE WHEN kv_used_ratio_max >= 0.9 THEN 1 ELSE 0 END",
                ),
                ("requests_waited", "1: requests waited", "CASE WHEN waiting_count_max > 0 THEN 1 ELSE 0 END"),
                (
                    "requests_preempted",
                    "1: requests were preempted",
                    "CASE WHEN preemptions_count > 0 THEN 1 ELSE 0 END",
                ),
            ]
        ),
    ),
    "FROM rolled_engine_minutes\nWHERE kv_used_ratio_max >= 0.9 OR waiting_count_max > 0 OR preemptions_count > 0",
)
