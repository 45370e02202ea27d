"""The plug-in of this process: what the stat logger, the middleware and the sender share. Made on first use.

`shared()` never raises. What is not as expected is kept as a sentence and told to the agent, which then takes its
figures from /metrics.
"""

import os
import threading
import uuid
from typing import Any

from controlplane.proto.prefix_text import SCHEME, canonical_parts, message_parts

from . import prefix_notes, wire
from .model_shape import shape_of
from .request_trace import RequestTrace, SequenceTrace, record_of
from .sender import Sender
from .step_sums import StepSums, added_up
from .token_bytes import TokenBytes, read_tokenizer

_PROBLEMS_MAX = 5
_PROBLEM_LENGTH_MAX = 300
_TEXT_PATHS = ("/v1/chat/completions", "/v1/completions")
_CHAT_PATH = "/v1/chat/completions"


class Plugin:
    def __init__(self, socket_path: str) -> None:
        self._source = uuid.uuid4().hex
        self._sums: dict[int, StepSums] = {}
        self._problems: list[str] = []
        self._shape: dict[str, float] = {}
        self._model = ""
        self._block_tokens = 0
        self._tokenizer: Any = None
        self._token_bytes: TokenBytes | None = None
        self._sender = Sender(socket_path, self._hello, self._steps, self.problem)
        self._sender.start()

    def new_sums(self, engine_index: int) -> StepSums:
        """An engine that is made anew (elastic scaling) goes on where it was."""
        return self._sums.setdefault(engine_index, StepSums())

    def close(self) -> None:
        """Sends what it still can."""
        self._sender.close()

    def problem(self, sentence: str) -> None:
        if len(self._problems) < _PROBLEMS_MAX and sentence[:_PROBLEM_LENGTH_MAX] not in self._problems:
            self._problems.append(sentence[:_PROBLEM_LENGTH_MAX])
            self._sender.greet_again()

    def engine_is_up(self, config: Any) -> None:
        try:
            self._shape = shape_of(config)
            self._block_tokens = int(self._shape.get("kv_block_tokens", 0))
            names = config.model_config.served_model_name
            self._model = names if isinstance(names, str) else str(names[0])
        except Exception as error:  # noqa: BLE001 - the engine goes on without us
            self.problem(f"vLLM's configuration cannot be read: {error!r}")
        self._sender.greet_again()

    def use_tokenizer(self, tokenizer: Any) -> None:
        """Called with the first request, when everything else must have come already."""
        self._tokenizer = tokenizer
        if not self._shape:
            self.problem("vLLM has not told its configuration to the stat logger, so steps and prefixes are not known")

    def prompt_known(self, trace: RequestTrace, sequence: SequenceTrace) -> None:
        if self._can_note(trace, sequence):
            self._sender.submit_note(lambda: self._note(trace, sequence, with_reply=False))

    def finished(self, trace: RequestTrace) -> None:
        self._sender.submit_record(lambda: record_of(trace))
        if trace.path != _CHAT_PATH or trace.outcome() == "failed" or len(trace.sequences) != 1:
            return
        sequence = trace.sequences[0]
        if self._can_note(trace, sequence) and sequence.finished and sequence.branches == 1:
            self._sender.submit_note(lambda: self._note(trace, sequence, with_reply=True))

    def _can_note(self, trace: RequestTrace, sequence: SequenceTrace) -> bool:
        """Several prompts, or an image in one, have no canonical text that their tokens could be matched with."""
        known = self._tokenizer is not None and self._block_tokens > 0 and sequence.notable
        return known and trace.path in _TEXT_PATHS and len(trace.sequences) == 1

    def _note(self, trace: RequestTrace, sequence: SequenceTrace, *, with_reply: bool) -> dict[str, Any] | None:
        parts = canonical_parts(trace.fields)
        if not parts or sequence.prompt_ids is None:
            return None
        token_ids = sequence.prompt_ids
        if with_reply:
            text = "".join(sequence.output_text)
            if not text:
                return None
            parts = [*parts, *message_parts({"role": "assistant", "content": text})]
            token_ids = [*token_ids, *sequence.output_ids]
        if self._token_bytes is None:
            self._token_bytes = read_tokenizer(self._tokenizer)
        model = trace.model
        chunks = prefix_notes.covered_chunks(
            parts,
            token_ids,
            self._token_bytes.of(token_ids),
            tenant=trace.tenant,
            model=model,
            cache_salt=sequence.cache_salt,
            adapter=sequence.adapter,
            block_tokens=self._block_tokens,
        )
        # A prompt too short for a chunk still tells whose salt this is: its recomputed blocks have a tenant.
        if not chunks and with_reply:
            return None
        return {
            "tenant": trace.tenant,
            "model": model,
            "salt": sequence.cache_salt,
            "adapter": sequence.adapter,
            "chunks": chunks,
        }

    def _hello(self) -> dict[str, Any]:
        return {
            "protocol": wire.PROTOCOL,
            "version": wire.PLUGIN_VERSION,
            "source": self._source,
            "pid": os.getpid(),
            "problems": list(self._problems),
            "shape": self._shape,
            "model": self._model,
            "schemes": [wire.SALT_SCHEME, SCHEME],
        }

    def _steps(self) -> dict[str, Any]:
        return dict(added_up(list(self._sums.values())))


_lock = threading.Lock()
_plugin: Plugin | None = None


def shared() -> Plugin:
    global _plugin  # noqa: PLW0603 - vLLM makes the parts of the plug-in apart from each other
    with _lock:
        if _plugin is None:
            _plugin = Plugin(os.environ.get(wire.SOCKET_VARIABLE, ""))
        return _plugin
