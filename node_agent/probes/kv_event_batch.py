"""vLLM's KV events as they lie in a message, turned into ours. vLLM's names and shapes are known here only. Pure.

Used by `kv_events`; the facts go on to `node_agent.inside.residency`. Nothing in a message is trusted: an event that
cannot be read is counted and left out, the others of its batch are kept. A test asks the real vLLM for these shapes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

_DEVICE_MEDIUM = "GPU"  # what vLLM calls the engine's own device, also when that is a CPU; others are offloading tiers
# A prefix can only be found again through layers that look at all of it.
_FULL_ATTENTION_KINDS = frozenset({None, "full_attention", "mla_attention", "sink_full_attention"})


@dataclass(frozen=True, slots=True)
class BlocksStored:
    """Consecutive full blocks of one sequence became resident."""

    hashes: tuple[int, ...]  # the engine's own names for them
    parent: int | None  # None: they begin the sequence
    token_ids: Sequence[int]  # of all of them, in order
    block_tokens: int
    cache_salt: str  # told with the first block of a sequence only
    adapter: str
    other_keys: tuple[str, ...]  # for each block, whatever else makes it differ (an image); (): nothing
    group: int | None  # of layers that share a block table


@dataclass(frozen=True, slots=True)
class BlocksRemoved:
    hashes: tuple[int, ...]
    group: int | None


@dataclass(frozen=True, slots=True)
class AllRemoved:
    """The prefix cache was emptied on purpose."""


KvEvent = BlocksStored | BlocksRemoved | AllRemoved


@dataclass(frozen=True, slots=True)
class KvBatch:
    events: tuple[KvEvent, ...]
    unknown_count: int  # of a kind that is not known here, and so tells nothing of which blocks are resident
    unreadable_count: int  # of a known kind: what it told is lost


class BlockStored(msgspec.Struct, tag=True, gc=False):
    block_hashes: list[int | bytes]
    parent_block_hash: int | bytes | None
    token_ids: list[int]
    block_size: int
    medium: str | None = None
    lora_name: str | None = None
    extra_keys: list[list[Any] | None] | None = None
    group_idx: int | None = None
    kv_cache_spec_kind: str | None = None


class BlockRemoved(msgspec.Struct, tag=True, gc=False):
    block_hashes: list[int | bytes]
    medium: str | None = None
    group_idx: int | None = None


class AllBlocksCleared(msgspec.Struct, tag=True, gc=False):
    pass


class _Tagged(msgspec.Struct):
    type: str


class _Batch(msgspec.Struct, array_like=True):
    ts: float
    events: list[msgspec.Raw]


_batch_decoder = msgspec.msgpack.Decoder(_Batch)
_event_decoder = msgspec.msgpack.Decoder(BlockStored | BlockRemoved | AllBlocksCleared)
_tag_decoder = msgspec.msgpack.Decoder(_Tagged)
_KNOWN = frozenset({"BlockStored", "BlockRemoved", "AllBlocksCleared"})


def decode_batch(payload: bytes) -> KvBatch:
    """One message of the engine. Raises ValueError when it is none at all."""
    try:
        batch = _batch_decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a batch of KV events: {error}") from error
    events: list[KvEvent] = []
    unknown = unreadable = 0
    for raw in batch.events:
        try:
            found = _event(_event_decoder.decode(raw))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            if _is_known(raw):
                unreadable += 1
            else:
                unknown += 1
        else:
            if found is not None:
                events.append(found)
    return KvBatch(tuple(events), unknown, unreadable)


def _is_known(raw: msgspec.Raw) -> bool:
    try:
        return _tag_decoder.decode(raw).type in _KNOWN
    except (msgspec.MsgspecError, RecursionError):
        return True  # no tag to be read: it may have been anything


def _event(event: BlockStored | BlockRemoved | AllBlocksCleared) -> KvEvent | None:
    """None for blocks that are not in the device's own cache, or of layers that do not look at whole prefixes."""
    if isinstance(event, AllBlocksCleared):
        return AllRemoved()
    if event.medium not in (None, _DEVICE_MEDIUM):
        return None
    hashes = tuple(_hash(value) for value in event.block_hashes)
    if isinstance(event, BlockRemoved):
        return BlocksRemoved(hashes, event.group_idx)
    if event.kv_cache_spec_kind not in _FULL_ATTENTION_KINDS:
        return None
    if event.block_size <= 0 or len(event.token_ids) != event.block_size * len(hashes):
        raise ValueError("the tokens are not those of the blocks")
    if event.token_ids and not 0 <= min(event.token_ids) <= max(event.token_ids) < 2**31:
        raise ValueError("these are no token ids")
    adapter = event.lora_name or ""
    keys = [list(key or ()) for key in event.extra_keys or ()]
    if keys and len(keys) != len(hashes):
        raise ValueError("the keys are not those of the blocks")
    for of_block in keys:
        # The order of vLLM: the adapter's name, images as pairs, the salt, digests of embeddings.
        if adapter and of_block and of_block[0] == adapter:
            del of_block[0]
    salt = ""
    if event.parent_block_hash is None and keys:
        at = next((at for at, key in enumerate(keys[0]) if isinstance(key, str)), None)
        salt = "" if at is None else keys[0].pop(at)
    return BlocksStored(
        hashes=hashes,
        parent=None if event.parent_block_hash is None else _hash(event.parent_block_hash),
        token_ids=event.token_ids,
        block_tokens=event.block_size,
        cache_salt=salt,
        adapter=adapter,
        other_keys=tuple(repr(key) if key else "" for key in keys) if any(keys) else (),
        group=event.group_idx,
    )


def _hash(value: int | bytes) -> int:
    """As 64 bits, of which vLLM sends the lowest as a number, or all of a longer hash as bytes."""
    number = int.from_bytes(value[-8:], "big") if isinstance(value, bytes) else value
    if not 0 <= number < 2**64:
        raise ValueError("not a block's hash")
    return number
