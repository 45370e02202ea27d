"""Views of requests: each one, by minute and hour, their latencies' histograms, who pays the recompute bill, and admission."""

from controlplane.storage.views.view import View, ViewColumn, ratio
from controlplane.storage.views.words import HOUR, MINUTE, columns, given

_MEASURED = (
    ("queue", "waiting in the engine's queue"),
    ("ttft", "time to first token"),
    ("inter_token", "time between tokens, each request's mean"),
)


def _measures() -> list[tuple[str, str]]:
    found = []
    for name, meaning in _MEASURED:
        found += [
            (f"{name}_seconds_sum", f"{meaning}, summed"),
            (f"{name}_count", "requests of which that is known"),
            (f"{name}_seconds_p50", f"{meaning}: half of the requests had less, to 19 %"),
            (f"{name}_seconds_p90", "90 % of the requests had less"),
            (f"{name}_seconds_p99", "99 % of the requests had less"),
        ]
    return found


_DERIVED = (
    ("completed_ratio", "share of the requests that were answered in full", ratio("completed_count", "requests_count")),
    ("cached_ratio", "share of the prompt tokens found in the prefix cache", ratio("cached_tokens", "prompt_tokens")),
    ("recompute_ratio", "share of the prompt tokens computed again", ratio("recompute_tokens", "prompt_tokens")),
    ("queue_seconds_mean", "mean wait in the engine's queue", ratio("queue_seconds_sum", "queue_count")),
    ("ttft_seconds_mean", "mean time to first token", ratio("ttft_seconds_sum", "ttft_count")),
    ("inter_token_seconds_mean", "mean time between tokens", ratio("inter_token_seconds_sum", "inter_token_count")),
)


def _rolled(name: str, at: str, meaning: str) -> View:
    return View(
        name,
        f"one row an engine, tenant, model and {at.removesuffix('_at')} of requests that ended in it",
        (
            *columns("engine_id", "tenant", "model", at, model="what they asked for", **{at: meaning}),
            *columns("node", "provider", "region", "requests_count"),
            *columns("completed_count", "aborted_count", "refused_count", "failed_count", "unknown_count"),
            *columns("prompt_tokens"),
            *given(
                [
                    ("cached_tokens", "of these: found in the prefix cache"),
                    ("output_tokens", "tokens written"),
                    *_measures(),
                ]
            ),
            *columns("recompute_tokens", "recompute_flops", "recompute_seconds"),
            *given(_DERIVED),
        ),
        f"FROM rolled_{name}",
    )


def _latency(name: str, at: str, meaning: str) -> View:
    return View(
        name,
        f"one row a bucket of a histogram, by engine, tenant, model, {at.removesuffix('_at')} "
        "and measure: sums over any of these are histograms again",
        (
            *columns("engine_id", "tenant", "model", at, model="what they asked for", **{at: meaning}),
            *given(
                [
                    ("measure", "`queue_seconds`, `ttft_seconds` or `inter_token_seconds`"),
                    ("bucket", "the bucket's number; the next one begins 19 % later", f"rolled_{name}.bucket"),
                    ("from_seconds", "what fell into it was longer than this"),
                    ("to_seconds", "and at most as long as this; NULL: no limit"),
                    ("requests_count", "requests that fell into it"),
                ]
            ),
        ),
        f"FROM rolled_{name} JOIN latency_buckets ON latency_buckets.bucket = rolled_{name}.bucket",
    )


REQUEST_MINUTES = _rolled("request_minutes", "minute_at", MINUTE)
REQUEST_HOURS = _rolled("request_hours", "hour_at", HOUR)
LATENCY_MINUTES = _latency("latency_minutes", "minute_at", MINUTE)
LATENCY_HOURS = _latency("latency_hours", "hour_at", HOUR)

REQUESTS = View(
    "requests",
    "one row a request, as its engine's node told it",
    (
        *columns(
            "engine_id", "instance_id", "node", "provider", "region", "model", "tenant", model="what it asked for"
        ),
        *given(
            [
                ("request_id", "its id, as in the answer and in the gateway's log"),
                ("started_at", "its arrival at the engine"),
                ("finished_at", "its last token"),
                (
                    "outcome",
                    "`completed`; `aborted`: the client left; `refused`: by the engine; `failed`: its fault; `unknown`",
                ),
                ("status_code", "HTTP; NULL: the engine never answered"),
                ("prompt_tokens", "tokens of the prompt"),
                ("cached_tokens", "of these: found in the prefix cache"),
                ("output_tokens", "tokens written"),
                ("queue_seconds", "waiting in the engine's queue"),
                ("ttft_seconds", "time to first token"),
                ("inter_token_seconds_mean", "time between tokens, on average"),
                ("duration_seconds", "from its arrival to its end", "SECONDS_BETWEEN(started_at, finished_at)"),
            ]
        ),
    ),
    "FROM request_records",
)

RECOMPUTE_BILL_HOURS = View(
    "recompute_bill_hours",
    "one row an engine, tenant, model and hour in which something was computed again that had been evicted",
    (
        *given(
            [
                ("hour_at", HOUR, "bill.hour_at"),
                ("tenant", "for whose requests", "bill.tenant"),
                ("model", "what they asked for", "bill.model"),
                ("engine_id", "the engine that computed it", "bill.engine_id"),
                ("node", "the node that it ran on", "bill.node"),
                ("provider", "the node's provider", "bill.provider"),
                ("region", "the node's region", "bill.region"),
                ("recompute_tokens", "tokens computed again", "bill.recompute_tokens"),
                ("recompute_flops", "floating-point operations spent on that", "bill.recompute_flops"),
                ("recompute_seconds", "engine time spent on that", "bill.recompute_seconds"),
                (
                    "recompute_device_hours",
                    "that time, times the engine's devices",
                    "bill.recompute_seconds * engine.device_seconds / NULLIF(engine.covered_seconds, 0) / 3600",
                ),
                ("requests_count", "requests that ended in it", "bill.requests_count"),
                ("prompt_tokens", "tokens of their prompts", "bill.prompt_tokens"),
                ("cached_tokens", "of these: found in the prefix cache", "bill.cached_tokens"),
                (
                    "recompute_ratio",
                    "share of the prompt tokens computed again",
                    ratio("bill.recompute_tokens", "bill.prompt_tokens"),
                ),
            ]
        ),
    ),
    "FROM rolled_request_hours AS bill\n"
    "LEFT JOIN rolled_engine_hours AS engine ON engine.engine_id = bill.engine_id AND engine.hour_at = bill.hour_at\n"
    "WHERE bill.recompute_tokens > 0",
)

_ENDED = "(SUM(admitted_count) + SUM(refused_count) + SUM(left_count))"

ADMISSION_MINUTES = View(
    "admission_minutes",
    "one row a minute, tenant and model of requests that came to the gateway in it",
    (
        ViewColumn("minute_at", MINUTE + ", in which they came"),
        *given(
            [
                ("tenant", "whose requests they were; empty: the key was not accepted"),
                ("model", "what they asked for; `other`: none of ours"),
                ("offered_count", "requests that came", "CAST(SUM(offered_count) AS BIGINT)"),
                ("admitted_count", "sent to an engine", "CAST(SUM(admitted_count) AS BIGINT)"),
                ("refused_count", "refused: see `refusal_minutes`", "CAST(SUM(refused_count) AS BIGINT)"),
                ("left_count", "the client left before that", "CAST(SUM(left_count) AS BIGINT)"),
                (
                    "waiting_count",
                    "still waiting when it was counted last",
                    f"CAST(SUM(offered_count) - {_ENDED} AS BIGINT)",
                ),
                ("completed_count", "of those admitted: answered", "CAST(SUM(completed_count) AS BIGINT)"),
                ("failed_count", "of those admitted: failed", "CAST(SUM(failed_count) AS BIGINT)"),
                ("refused_ratio", "share that was refused", ratio("SUM(refused_count)", "SUM(offered_count)")),
                (
                    "queue_seconds_mean",
                    "mean wait at the gateway of those admitted",
                    ratio("SUM(queue_seconds_sum)", "SUM(admitted_count)"),
                ),
                (
                    "first_byte_seconds_mean",
                    "mean time to the first byte of an answer",
                    ratio("SUM(first_byte_seconds_sum)", "SUM(first_byte_count)"),
                ),
                ("first_byte_count", "answers of which that is known", "CAST(SUM(first_byte_count) AS BIGINT)"),
            ]
        ),
    ),
    "FROM admission_counts\nGROUP BY minute_at, tenant, model",
)

REFUSAL_MINUTES = View(
    "refusal_minutes",
    "one row a minute, tenant, model and reason of requests that the gateway refused",
    given(
        [
            ("minute_at", MINUTE + ", in which they came"),
            ("tenant", "whose requests they were; empty: the key was not accepted"),
            ("model", "what they asked for; `other`: none of ours"),
            ("reason", "why, as in the gateway's answer"),
            ("refused_count", "requests refused", "CAST(SUM(refused_count) AS BIGINT)"),
        ]
    ),
    "FROM admission_counts\nWHERE refused_count > 0\nGROUP BY minute_at, tenant, model, reason",
)
