"""How the text of a request is cut into chunks and hashed: part of the protocol between agents and the control plane.

The control plane hashes a request when it routes it, the plug-in inside vLLM hashes the same request when the engine
computes it; both must come to the same numbers without a tokenizer, so both run this very module. It needs nothing but
the standard library, because it is copied into vLLM's environment. It never keeps or logs the text.

Canonical text: the parts of a request that its prompt is made of, in order, as bytes. A chunk ends at fixed offsets of
it: every 512 bytes up to 16 KiB, then sixteen to each doubling of the offset, so that a prompt of any length has few
chunks (112 for 512 KiB) and beyond 8 KiB a match is never more than a sixteenth shorter than what is shared. The hash of a
chunk is that of the whole text up to its end, salted by tenant and model: equal hashes mean an equal prefix, and
nobody who does not know a tenant's text learns anything from its hashes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

SCHEME = "text-1"
"""Named in an agent's capabilities as "residency.text-1": another way of cutting or hashing gets another name."""

CHUNK_BYTES_MIN = 512
_CHUNKS_PER_DOUBLING = 16
_FIELD = b"\x1e"
_RECORD = b"\x1f"


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of canonical text. `verbatim`: the prompt holds these bytes as they are; otherwise they only name it."""

    text: bytes
    verbatim: bool


def boundaries(length_bytes: int) -> Iterator[int]:
    """Offsets in bytes at which chunks end, ascending; what lies beyond the last one is in no chunk."""
    offset = 0
    while True:
        offset += chunk_bytes_at(offset)
        if offset > length_bytes:
            return
        yield offset


def chunk_bytes_at(offset: int) -> int:
    """The length in bytes of the chunk that begins at this offset: a power of two, at least CHUNK_BYTES_MIN."""
    return max(CHUNK_BYTES_MIN, (1 << max(0, offset.bit_length() - 1)) // _CHUNKS_PER_DOUBLING)


def chunk_hashes(text: bytes, *, tenant: str, model: str) -> list[int]:
    """One unsigned 64-bit hash for each chunk of the canonical text, in order."""
    digest = blake2b(digest_size=8, salt=SCHEME.encode().ljust(16, b"\0"))
    digest.update(tenant.encode() + _FIELD + model.encode() + _RECORD)
    hashes, begin = [], 0
    for end in boundaries(len(text)):
        digest.update(text[begin:end])
        hashes.append(int.from_bytes(digest.copy().digest(), "big"))
        begin = end
    return hashes


def canonical_parts(body: Mapping[str, Any]) -> list[TextPart]:
    """The canonical text of a chat or completion request, in parts. Empty for a body that is neither.

    A completion's text is its prompt. A chat's is its tools, then role and content of each message. Anything that the
    prompt shows in a form of the template's choosing (roles, tools, images, calls) stands in as canonical JSON.
    """
    prompt = body.get("prompt")
    if prompt is not None:
        return _prompt_parts(prompt)
    messages = body.get("messages")
    if not isinstance(messages, list):
        return []
    tools = body.get("tools")
    parts = [TextPart(b"tools" + _FIELD + _json(tools) + _RECORD, verbatim=False)] if tools else []
    for message in messages:
        if not isinstance(message, dict):
            return []
        parts += message_parts(message)
    return parts


def message_parts(message: Mapping[str, Any]) -> list[TextPart]:
    """The canonical text of one chat message."""
    parts = [TextPart(str(message.get("role", "")).encode() + _FIELD, verbatim=False)]
    parts += _content_parts(message.get("content"))
    others = {key: value for key, value in message.items() if key not in ("role", "content") and value is not None}
    if others:
        parts.append(TextPart(_FIELD + _json(others), verbatim=False))
    parts.append(TextPart(_RECORD, verbatim=False))
    return parts


def canonical_text(body: Mapping[str, Any]) -> bytes:
    return b"".join(part.text for part in canonical_parts(body))


def _prompt_parts(prompt: object) -> list[TextPart]:
    if isinstance(prompt, str):
        return [TextPart(_encoded(prompt), verbatim=True)]
    if isinstance(prompt, Sequence) and len(prompt) == 1 and isinstance(prompt[0], str):
        return [TextPart(_encoded(prompt[0]), verbatim=True)]
    # Several prompts are several sequences in the engine, and token ids are no text.
    return []


def _content_parts(content: object) -> list[TextPart]:
    if content is None:
        return []
    if isinstance(content, str):
        return [TextPart(_encoded(content), verbatim=True)]
    if not isinstance(content, list):
        return [TextPart(_json(content), verbatim=False)]
    parts = []
    for item in content:
        if isinstance(item, dict) and isinstance(item.get("text"), str) and item.get("type") in ("text", "input_text"):
            parts.append(TextPart(_encoded(item["text"]), verbatim=True))
        else:
            parts.append(TextPart(_json(item), verbatim=False))
    return parts


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str).encode()
