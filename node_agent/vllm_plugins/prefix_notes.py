"""Which KV block stands for which chunk of a request's text: the residency index's raw material. Pure.

Called by `request_notes`, in the sender's thread. Chunks are cut from the canonical text of the request, as the control
plane cuts it; their ends are found again in the rendered prompt, whose tokens are known, by the bytes that both share.
"""

from bisect import bisect_left
from collections.abc import Sequence

from controlplane.proto.prefix_text import TextPart, boundaries, chunk_hashes

from . import token_chain
from .token_bytes import PromptBytes

Chunks = list[tuple[int, int, int]]
"""(hash of the chunk, chain hash of the last block that is full at its end, tokens up to its end)."""


def covered_chunks(
    parts: Sequence[TextPart],
    token_ids: Sequence[int],
    prompt: PromptBytes,
    *,
    tenant: str,
    model: str,
    cache_salt: str,
    adapter: str,
    block_tokens: int,
) -> Chunks:
    """`prompt`: what the tokens read. Empty when none of the text is in it: its template is not understood."""
    ends = token_ends(parts, prompt)
    if not ends:
        return []
    text = b"".join(part.text for part in parts)
    hashes = chunk_hashes(text, tenant=tenant, model=model)
    blocks = token_chain.chain(token_chain.root(cache_salt, adapter), token_ids, block_tokens)
    chunks = []
    for chunk_hash, tokens in zip(hashes, ends, strict=True):
        # The last block that is full at the chunk's end: one that runs past it holds text of what follows, and another
        # request with the same chunk would seem to miss what it finds.
        block = max(0, tokens // block_tokens - 1)
        if block >= len(blocks):
            break
        chunks.append((chunk_hash, blocks[block], tokens))
    return chunks


def token_ends(parts: Sequence[TextPart], prompt: PromptBytes) -> list[int]:
    """How many of the prompt's tokens hold the text up to each chunk's end; empty when no part is in the prompt."""
    anchors = _anchors(parts, prompt.text)
    if anchors is None:
        return []
    length = sum(len(part.text) for part in parts)
    ends, index = [], 0
    for offset in boundaries(length):
        while anchors[index + 1][0] < offset:
            index += 1
        position = _between(anchors[index], anchors[index + 1], offset)
        ends.append(bisect_left(prompt.ends, position) + 1 if position else 0)
    return ends


_Anchor = tuple[int, int, bool]
"""(offset in the canonical text, position in the prompt's bytes, whether text leads up to here evenly)."""


def _anchors(parts: Sequence[TextPart], prompt: bytes) -> list[_Anchor] | None:
    anchors: list[_Anchor] = [(0, 0, False)]
    offset = position = 0
    found_any = missed = False
    for part in parts:
        if part.verbatim and part.text:
            found = _find(part.text, prompt, position)
            if found is None:
                missed = True
            else:
                skipped, at, size = found
                anchors += [(offset + skipped, at, missed), (offset + skipped + size, at + size, True)]
                position, found_any, missed = at + size, True, False
        offset += len(part.text)
    anchors.append((offset, len(prompt), missed))
    return anchors if found_any else None


def _find(text: bytes, prompt: bytes, position: int) -> tuple[int, int, int] | None:
    """(bytes of the text that the template cut off its begin, where it stands, how long it is there)."""
    at = prompt.find(text, position)
    if at >= 0:
        return 0, at, len(text)
    trimmed = text.strip()
    at = prompt.find(trimmed, position) if trimmed else -1
    return None if at < 0 else (len(text) - len(text.lstrip()), at, len(trimmed))


def _between(before: _Anchor, after: _Anchor, offset: int) -> int:
    """Byte by byte within text that was found, in proportion where some was not. What only names something (a role, a
    tool) ends where the next text begins, since the prompt needs all that leads up to it."""
    if not after[2]:
        return after[1]
    length = after[0] - before[0]
    return before[1] + (offset - before[0]) * (after[1] - before[1]) // length if length else after[1]
