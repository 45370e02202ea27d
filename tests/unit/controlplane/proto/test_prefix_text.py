"""The hashing that agents and the control plane share: the same text gives the same numbers, anything else others."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.proto.prefix_text import (
    CHUNK_BYTES_MIN,
    boundaries,
    canonical_parts,
    canonical_text,
    chunk_hashes,
    message_parts,
)

LENGTHS = st.integers(0, 2_000_000)


@given(LENGTHS)
def test_chunks_end_at_the_same_offsets_whatever_comes_after(length: int) -> None:
    ends = list(boundaries(length))
    assert ends == [end for end in boundaries(2_000_000) if end <= length]
    assert ends == sorted(set(ends))


@given(LENGTHS)
def test_what_is_in_no_chunk_is_little(length: int) -> None:
    covered = max(boundaries(length), default=0)
    assert length - covered <= max(CHUNK_BYTES_MIN, length / 16)


def test_a_long_prompt_has_few_chunks() -> None:
    ends = list(boundaries(512 * 1024))
    assert len(ends) == 112
    assert ends[:3] == [512, 1024, 1536]
    assert all(later - earlier <= max(CHUNK_BYTES_MIN, earlier / 16) for earlier, later in pairwise(ends))


@given(st.binary(max_size=4000), st.binary(max_size=4000), st.binary(max_size=4000))
def test_hashes_agree_exactly_as_far_as_the_texts_do(shared: bytes, one: bytes, other: bytes) -> None:
    first, second = (chunk_hashes(shared + rest, tenant="t", model="m") for rest in (one, other))
    for number, end in enumerate(boundaries(min(len(shared + one), len(shared + other)))):
        assert (first[number] == second[number]) == ((shared + one)[:end] == (shared + other)[:end])


def test_tenants_and_models_share_nothing() -> None:
    text = b"x" * 600
    told = [chunk_hashes(text, tenant=tenant, model=model)[0] for tenant, model in (("a", "m"), ("b", "m"), ("a", "n"))]
    assert len(set(told)) == 3
    assert all(0 <= value < 2**64 for value in told)


def test_these_numbers_are_the_protocol() -> None:
    """A change of them is another scheme, with another name: nodes and control planes of two releases must agree."""
    body = {"messages": [{"role": "user", "content": "y" * 700}]}
    assert canonical_text(body) == b"user\x1e" + b"y" * 700 + b"\x1f"
    assert chunk_hashes(canonical_text(body), tenant="acme", model="m") == [4945657051692921715]


def test_a_conversation_begins_with_the_text_of_its_earlier_turns() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ]
    earlier = canonical_text({"messages": messages[:2]})
    later = canonical_text({"messages": messages})
    assert later.startswith(earlier)
    assert later == earlier + b"".join(part.text for part in message_parts(messages[2]))


def test_only_text_that_the_prompt_holds_as_it_is_counts_as_verbatim() -> None:
    parts = canonical_parts({"messages": [{"role": "user", "content": "hello"}], "tools": [{"name": "f"}]})
    assert [part.text for part in parts if part.verbatim] == [b"hello"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_any_body_has_a_canonical_text_or_none(value: object) -> None:
    message = {"role": value, "content": value}
    for body in ({"messages": value}, {"messages": [value]}, {"messages": [message]}, {"prompt": value}):
        assert isinstance(canonical_text(json.loads(json.dumps(body))), bytes)


def test_what_is_no_single_text_has_none() -> None:
    for prompt in ([1, 2, 3], ["a", "b"], [[1], [2]], []):
        assert canonical_text({"prompt": prompt}) == b""
    assert canonical_text({"input": "x"}) == b""
