"""What is seen of one request on its way through vLLM, and what is told of it at the end. Called by `middleware`,
`request_tap` and, in the sender's thread, by `plugin`.

Gathering costs a few assignments an output; whatever takes longer (reading the body, hashing) is left to the sender's
thread. Nothing here may raise into vLLM: callers guard it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

COMPLETED, ABORTED, REFUSED, FAILED = "completed", "aborted", "refused", "failed"


class SequenceTrace:
    """One call of the engine for a request; most requests are one."""

    def __init__(self, request_id: str, prompt: Any, params: Any, adapter: str) -> None:
        self.request_id = request_id
        self.adapter = adapter
        self.branches = int(getattr(params, "n", 1) or 1)
        # A stream gets what is new each time, everything else the whole so far.
        self.delta = getattr(getattr(params, "output_kind", None), "name", "") == "DELTA"
        text_only = isinstance(prompt, Mapping) and prompt.get("type") == "token"
        self.prompt_ids: Sequence[int] | None = prompt.get("prompt_token_ids") if text_only else None
        self.notable = text_only
        self.cache_salt = str(prompt.get("cache_salt") or "") if text_only else ""
        self.prompt_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.metrics: Any = None
        self.output_counts: dict[int, int] = {}
        self.output_ids: list[int] = []
        self.output_text: list[str] = []
        self.finished = False

    def saw(self, output: Any) -> None:
        """An output of the engine: a RequestOutput."""
        if self.prompt_tokens is None:
            self.prompt_tokens = len(output.prompt_token_ids)
        if self.cached_tokens is None:
            self.cached_tokens = output.num_cached_tokens
        self.metrics = output.metrics
        self.finished = bool(output.finished)
        for branch in output.outputs:
            count = len(branch.token_ids)
            self.output_counts[branch.index] = count + (self.output_counts.get(branch.index, 0) if self.delta else 0)
            if self.branches == 1:
                if not self.delta:
                    self.output_ids.clear()
                    self.output_text.clear()
                self.output_ids += branch.token_ids
                self.output_text.append(branch.text)


class RequestTrace:
    def __init__(self, *, path: str, tenant: str, request_id: str, body: bytes, started_at: float) -> None:
        self.path = path
        self.tenant = tenant
        self.request_id = request_id
        self.started_at = started_at
        self.finished_at = started_at
        self.status = 0
        self.answered = False  # to its end
        self.left = False  # the client did, before the answer's end
        self.broke = False  # the engine did
        self.sequences: list[SequenceTrace] = []
        self._body = body
        self._fields: Mapping[str, Any] | None = None

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body, read once; empty when it is no JSON object."""
        if self._fields is None:
            try:
                read = json.loads(self._body)
            except (ValueError, RecursionError):
                read = None
            self._fields = read if isinstance(read, dict) else {}
            self._body = b""
        return self._fields

    @property
    def model(self) -> str:
        model = self.fields.get("model")
        return model if isinstance(model, str) else ""

    def outcome(self) -> str:
        if self.left:
            return ABORTED
        if 400 <= self.status < 500:
            return REFUSED
        if self.broke or self.status >= 500 or not self.answered:
            return FAILED
        return COMPLETED


def record_of(trace: RequestTrace) -> dict[str, Any]:
    """As it goes over the wire; None is what is not known."""
    record: dict[str, Any] = {
        "id": trace.request_id or (trace.sequences[0].request_id if trace.sequences else ""),
        "tenant": trace.tenant,
        "model": trace.model,
        "started": trace.started_at,
        "finished": trace.finished_at,
        "outcome": trace.outcome(),
        "status": trace.status,
    }
    # Beam search computes one request as many, whose sums mean nothing.
    if trace.sequences and not trace.fields.get("use_beam_search"):
        record |= _tokens(trace.sequences)
        if len(trace.sequences) == 1 and trace.sequences[0].branches == 1:
            record |= _times(trace.sequences[0])
    return record


def _tokens(sequences: Sequence[SequenceTrace]) -> dict[str, Any]:
    """`cached` of a request with several answers is what its last one found of its siblings, so it is left out."""
    cached = [sequence.cached_tokens if sequence.branches == 1 else None for sequence in sequences]
    return {
        "prompt": _sum([sequence.prompt_tokens for sequence in sequences]),
        "cached": _sum(cached),
        "output": sum(sum(sequence.output_counts.values()) for sequence in sequences),
    }


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _times(sequence: SequenceTrace) -> dict[str, Any]:
    metrics = sequence.metrics
    if metrics is None:
        return {}
    tokens = sum(sequence.output_counts.values())
    return {
        "queue": _span(metrics.queued_ts, metrics.scheduled_ts),
        "ttft": metrics.first_token_latency or None,
        "itl": None if tokens < 2 else _span(metrics.first_token_ts, metrics.last_token_ts, tokens - 1),
    }


def _span(begin: float, end: float, parts: int = 1) -> float | None:
    """vLLM's zero is a moment that never came."""
    return (end - begin) / parts if begin > 0 and end >= begin else None
