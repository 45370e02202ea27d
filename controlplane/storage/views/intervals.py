"""The view of single readings: what each adds to the one before it."""

from controlplane.storage.tables.history import COUNTERS, GAUGES
from controlplane.storage.views.view import View
from controlplane.storage.views.words import columns, given

_PROCESS = "(PARTITION BY engine_id, instance_id ORDER BY sampled_at"
_MEANINGS = {
    "kv_used_tokens": "tokens that live requests held of it, at `until_at`",
    "running_count": "requests in the batch, at `until_at`",
    "waiting_count": "requests in the engine's queue, at `until_at`",
    "inflight_count": "requests sent there by the gateway that had not ended, at `until_at`",
    "kv_headroom_tokens": "what free device memory could still be given to the KV cache, at `until_at`",
    "resident_chunks_count": "chunks of prefixes in the KV cache, at `until_at`",
    "steps": "engine steps",
    "preemptions": "requests thrown out of the KV cache, to be computed again",
    "requests_finished": "requests that ended",
    "inside_steps": "steps that the plug-in in the engine saw",
    "inside_running": "running requests, summed over these steps",
}


def _seen(counter: str) -> str:
    return f"  MAX({counter}) OVER {_PROCESS} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS {counter}_seen"


def _added(counter: str) -> str:
    before = f"COALESCE({counter}_seen, 0)"
    return f"CASE WHEN {counter} IS NULL THEN NULL WHEN {counter} > {before}\n    THEN {counter} - {before} ELSE 0 END"


_SINCE = f"  LAG(sampled_at) OVER {_PROCESS}) AS since_at"
_READINGS = ",\n".join((_SINCE, *(_seen(counter) for counter in COUNTERS)))

ENGINE_INTERVALS = View(
    "engine_intervals",
    "one row a reading, with what was counted since the reading before it of the same engine process",
    (
        *columns("engine_id", "instance_id", "node", "provider", "region", "model", "state", state="its state then"),
        *given(
            [
                ("since_at", "when the reading before it was taken; NULL: it is the first of its process"),
                ("until_at", "when it was taken", "sampled_at"),
                (
                    "interval_seconds",
                    "between the two, to the millisecond; NULL: it is the first",
                    "SECONDS_BETWEEN(since_at, sampled_at)",
                ),
            ]
        ),
        *columns(*GAUGES, **_MEANINGS),
        *given(
            [
                (
                    "kv_used_ratio",
                    "of the two",
                    "CASE WHEN kv_capacity_tokens > 0 THEN kv_used_tokens * 1.0 / kv_capacity_tokens END",
                )
            ]
        ),
        *given((name, columns(name, **_MEANINGS)[0].meaning, _added(f"{name}_total")) for name in
               (counter.removesuffix("_total") for counter in COUNTERS)),
    ),
    f"FROM (\nSELECT *,\n{_READINGS}\nFROM engine_samples\n) AS readings",
)  # fmt: skip
