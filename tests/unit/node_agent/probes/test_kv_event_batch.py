"""vLLM's KV events as they lie in a message: what is read of them, and what garbage does."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.probes.kv_event_batch import AllRemoved, BlocksRemoved, BlocksStored, decode_batch

STORED: dict[str, Any] = {
    "type": "BlockStored",
    "block_hashes": [11, 12],
    "parent_block_hash": None,
    "token_ids": [1, 2, 3, 4],
    "block_size": 2,
    "lora_id": None,
    "medium": "GPU",
    "lora_name": None,
    "group_idx": 0,
    "kv_cache_spec_kind": "full_attention",
}


def packed(*events: object) -> bytes:
    return msgspec.msgpack.encode([1.5, list(events), 0])


def stored(**changes: Any) -> BlocksStored:
    [event] = decode_batch(packed({**STORED, **changes})).events
    assert isinstance(event, BlocksStored)
    return event


def test_all_three_kinds_are_read() -> None:
    batch = decode_batch(
        packed(STORED, {"type": "BlockRemoved", "block_hashes": [11], "group_idx": 0}, {"type": "AllBlocksCleared"})
    )
    assert (batch.unknown_count, batch.unreadable_count) == (0, 0)
    assert batch.events == (
        BlocksStored((11, 12), None, [1, 2, 3, 4], 2, "", "", (), 0),
        BlocksRemoved((11,), 0),
        AllRemoved(),
    )


def test_long_hashes_count_by_their_lowest_64_bits() -> None:
    long = (2**200 + 77).to_bytes(32, "big")
    assert stored(block_hashes=[long, 12], parent_block_hash=long).hashes == (77, 12)


@pytest.mark.parametrize(
    ("changes", "salt", "adapter", "others"),
    [
        ({"extra_keys": [["pepper"], None]}, "pepper", "", ()),
        ({"lora_name": "sql", "extra_keys": [["sql", "pepper"], ["sql"]]}, "pepper", "sql", ()),
        ({"lora_name": "sql", "extra_keys": [["sql", "sql"], ["sql"]]}, "sql", "sql", ()),
        ({"parent_block_hash": 9, "lora_name": "sql", "extra_keys": [["sql"], ["sql"]]}, "", "sql", ()),
        ({"extra_keys": [[["cat", 3], "pepper"], [["cat", -1]]]}, "pepper", "", ("[['cat', 3]]", "[['cat', -1]]")),
        ({"parent_block_hash": 9, "extra_keys": [None, [["cat", 0]]]}, "", "", ("", "[['cat', 0]]")),
        ({"extra_keys": [["pepper", "digest"], None]}, "pepper", "", ("['digest']", "")),
    ],
)
def test_salt_and_adapter_are_told_from_what_else_makes_a_block_differ(
    changes: dict[str, Any], salt: str, adapter: str, others: tuple[str, ...]
) -> None:
    event = stored(**changes)
    assert (event.cache_salt, event.adapter, event.other_keys) == (salt, adapter, others)


def test_other_places_and_other_layers_are_left_out() -> None:
    batch = decode_batch(
        packed(
            {**STORED, "medium": "CPU"},
            {**STORED, "kv_cache_spec_kind": "sliding_window"},
            {"type": "BlockRemoved", "block_hashes": [11], "medium": "STORAGE"},
        )
    )
    assert (batch.events, batch.unknown_count, batch.unreadable_count) == ((), 0, 0)


@pytest.mark.parametrize(
    "broken",
    [
        {**STORED, "token_ids": [1, 2, 3]},
        {**STORED, "block_size": 0},
        {**STORED, "block_hashes": [-1, 2]},
        {**STORED, "token_ids": [1, 2, 3, 2**40]},
        {**STORED, "block_hashes": "many"},
        {**STORED, "extra_keys": [["only one"]]},
        {"type": "BlockRemoved"},
        {"no": "type"},
        7,
    ],
)
def test_a_broken_event_is_counted_and_the_others_are_kept(broken: object) -> None:
    batch = decode_batch(packed(broken, STORED))
    assert (len(batch.events), batch.unreadable_count, batch.unknown_count) == (1, 1, 0)


def test_an_event_of_a_kind_that_is_not_known_is_counted_apart() -> None:
    batch = decode_batch(packed({"type": "BlockDreamt", "of": [1]}, STORED))
    assert (len(batch.events), batch.unreadable_count, batch.unknown_count) == (1, 0, 1)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_a_value_error(payload: bytes) -> None:
    try:
        batch = decode_batch(payload)
    except ValueError:
        return
    assert batch.unreadable_count >= 0
