"""What the plug-in notes about a prompt's prefix, and who keeps such notes. Frozen values without any I/O.

Made by `node_agent.inside.plugin_codec`; kept by whatever stands behind `ResidencySink`, which knows from the KV events
which blocks the engine holds. A note carries no text and no token ids, only hashes of them.
"""

from dataclasses import dataclass
from typing import Protocol

from node_agent.session.inside import RecomputeBill, ResidencySummary


@dataclass(frozen=True, slots=True)
class PrefixNote:
    """Which KV block stands for which chunk of one request's canonical text.

    `chunks`, ascending: (hash of the chunk, by `controlplane.proto.prefix_text`; chain hash of the last KV block that is
    full at the chunk's end, by `node_agent.vllm_plugins.token_chain`; tokens of the prompt up to the chunk's end). A chunk
    that ends before the first block does stands on that block, and is left out when it is not full.
    """

    tenant: str  # "": the request had none
    model: str  # as the client asked for it
    cache_salt: str  # as vLLM got it; "": none
    adapter: str  # the LoRA adapter's name; "": the base model
    chunks: tuple[tuple[int, int, int], ...]


class ResidencySink(Protocol):
    """Keeps the notes of one engine process, and tells what they come to."""

    def note(self, note: PrefixNote) -> None: ...

    def summary(self) -> ResidencySummary | None:
        """None while nothing is known of the engine's blocks, for example before its first KV event."""

    def bills(self) -> tuple[RecomputeBill, ...]:
        """What recomputing evicted prefixes has cost, one for each tenant."""
