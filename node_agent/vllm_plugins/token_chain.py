"""One hash for each full block of a prompt's tokens, each standing for all tokens up to its end. Pure.

The plug-in names blocks by it in its notes, the agent computes the same from the tokens in vLLM's KV events. Both need
it because vLLM's own block hashes depend on its version and settings, and are not known when a prompt comes in.
"""

import sys
from array import array
from collections.abc import Sequence
from hashlib import blake2b


def root(cache_salt: str, adapter: str) -> int:
    """What a chain begins with: equal tokens under another salt or another LoRA adapter are other blocks."""
    digest = blake2b(digest_size=8, person=b"stoker-root")
    digest.update(len(cache_salt.encode()).to_bytes(4, "little") + cache_salt.encode() + adapter.encode())
    return int.from_bytes(digest.digest(), "little")


def extend(parent: int, token_ids: Sequence[int]) -> int:
    """The hash of the block that holds these tokens and follows `parent`."""
    return _extend(parent.to_bytes(8, "little"), _packed(token_ids))


def chain(first: int, token_ids: Sequence[int], block_tokens: int) -> list[int]:
    """The hashes of all full blocks, in order; the tokens after the last full block have none."""
    packed = _packed(token_ids)
    width = 4 * block_tokens
    hashes, parent = [], first.to_bytes(8, "little")
    for begin in range(0, len(packed) - width + 1, width):
        parent = blake2b(parent + packed[begin : begin + width], digest_size=8, person=b"stoker-block").digest()
        hashes.append(int.from_bytes(parent, "little"))
    return hashes


def _extend(parent: bytes, packed: bytes) -> int:
    return int.from_bytes(blake2b(parent + packed, digest_size=8, person=b"stoker-block").digest(), "little")


def _packed(token_ids: Sequence[int]) -> bytes:
    numbers = array("i", token_ids)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
