"""Texts as a simulated engine sees them: tokens without a tokenizer, and the names of the blocks that they fill. Pure.

Used by `http_app`. A token is about four characters, so that lengths are like those of real ones; equal beginnings of texts
give equal tokens and so equal blocks, which is all that a prefix cache asks for.
"""

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

_PIECE = re.compile(r"\s*\S{1,4}|\s+")
_VOCABULARY_SIZE = 32_000


def tokens_of(text: str) -> list[int]:
    return [zlib.crc32(piece.encode("utf-8", "replace")) % _VOCABULARY_SIZE for piece in _PIECE.findall(text)]


def chat_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """As a chat template would write it."""
    return "".join(f"<|{message.get('role', '')}|>\n{_content(message.get('content'))}\n" for message in messages)


def _content(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return "" if content is None else str(content)


def block_names(tokens: Sequence[int], block_tokens: int, salt: str) -> list[int]:
    """Each names the whole prefix up to its end; another salt gives other names."""
    parent = hashlib.blake2b(salt.encode("utf-8", "replace"), digest_size=8).digest()
    names = []
    for first in range(0, len(tokens) - block_tokens + 1, block_tokens):
        part = ",".join(map(str, tokens[first : first + block_tokens])).encode()
        parent = hashlib.blake2b(parent + part, digest_size=8).digest()
        names.append(int.from_bytes(parent, "big"))
    return names


def output_tokens(tail: int, count: int) -> list[int]:
    return [(tail + index * 7919) % _VOCABULARY_SIZE for index in range(count)]
