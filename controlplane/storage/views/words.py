"""What the columns mean that several views share, said once. Used by the modules beside it."""

from collections.abc import Iterable

from controlplane.storage.views.view import ViewColumn

MINUTE = "the minute, by its beginning"
HOUR = "the hour, by its beginning"

SHARED = {
    "engine_id": "the engine: one placement of a model on a node",
    "instance_id": "the engine's process; another after each restart",
    "node": "the node that it ran on",
    "provider": "the node's provider",
    "region": "the node's region",
    "model": "the model that it served",
    "tenant": "whose requests they were; empty: not told",
    "state": "the last state known in it: `ready`, `starting`, `draining`, …",
    "device_id": "the device, as its node names it",
    "device_kind": "what kind of device it is",
    "samples_count": "readings that it was made of: about six a minute",
    "covered_seconds": "time that the readings stand for: less than the whole where it was silent",
    "kv_capacity_tokens": "tokens that the KV cache can hold",
    "kv_used_tokens_mean": "tokens that live requests held in it, on average",
    "kv_used_tokens_max": "at most",
    "kv_used_ratio_mean": "share of the KV cache in use, on average",
    "kv_used_ratio_max": "at most",
    "running_count_mean": "requests in the batch, on average",
    "running_count_max": "at most",
    "waiting_count_mean": "requests in the engine's queue, on average",
    "waiting_count_max": "at most",
    "inflight_count_mean": "requests sent there by the gateway that had not ended, on average",
    "inflight_count_max": "at most",
    "kv_headroom_tokens_min": "what free device memory could still be given to the KV cache, at least",
    "resident_chunks_count_max": "chunks of prefixes in the KV cache, at most",
    "prompt_tokens": "tokens of prompts",
    "generation_tokens": "tokens written",
    "steps_count": "engine steps",
    "step_tokens": "tokens in the batches of these steps",
    "prefix_query_tokens": "tokens looked for in the prefix cache",
    "prefix_hit_tokens": "tokens found there",
    "preemptions_count": "requests thrown out of the KV cache, to be computed again",
    "requests_finished_count": "requests that ended",
    "ttft_count": "requests whose time to first token is known",
    "ttft_seconds_sum": "their times to first token, summed",
    "flops": "floating-point operations of the model's arithmetic",
    "bytes": "bytes moved to and from device memory, likewise",
    "inside_steps_count": "steps that the plug-in in the engine saw",
    "inside_running_count": "running requests, summed over these steps",
    "prefill_tokens": "tokens computed in them for prompts",
    "decode_tokens": "and for answers",
    "busy_seconds": "time with work to do, by the plug-in",
    "recompute_tokens": "tokens computed again because they had been evicted from the cache",
    "recompute_flops": "floating-point operations spent on that",
    "recompute_seconds": "engine time spent on that",
    "requests_count": "requests that ended in it",
    "completed_count": "of these: answered in full",
    "aborted_count": "the client left",
    "refused_count": "refused by the engine, as too long or not valid",
    "failed_count": "failed by the engine's fault",
    "unknown_count": "their end was not told",
}


def columns(*names: str, **meanings: str) -> tuple[ViewColumn, ...]:
    """The columns of these names, with their shared meaning, or the one that is given here."""
    return tuple(ViewColumn(name, meanings.get(name) or SHARED[name]) for name in names)


def given(pairs: Iterable[tuple[str, str] | tuple[str, str, str]]) -> tuple[ViewColumn, ...]:
    """Columns from their names, meanings and, where they are no columns of a table, expressions."""
    return tuple(ViewColumn(*pair) for pair in pairs)
