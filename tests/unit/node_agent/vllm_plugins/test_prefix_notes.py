"""Where a chunk of a request's text ends among the tokens of its rendered prompt."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.proto.prefix_text import boundaries, canonical_parts, canonical_text, chunk_hashes
from node_agent.vllm_plugins import token_chain
from node_agent.vllm_plugins.prefix_notes import covered_chunks, token_ends
from node_agent.vllm_plugins.token_bytes import PromptBytes, TokenBytes, read_tokenizer

BYTES = TokenBytes([bytes([byte]) for byte in range(256)])  # a token for each byte
TEXT = "The ratio of work to bytes is called the arithmetic intensity. " * 40


def chat(*contents: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content} for content in contents]}


def rendered(*contents: str) -> bytes:
    return "".join(f"<|user|>{content}<|end|>" for content in contents).encode()


@given(st.lists(st.text(min_size=1, max_size=900), min_size=1, max_size=4))
def test_within_text_a_chunk_ends_at_its_own_last_byte(contents: list[str]) -> None:
    body, prompt = chat(*contents), rendered(*contents)
    canonical = canonical_text(body)
    ends = token_ends(canonical_parts(body), BYTES.of(prompt))
    assert len(ends) == len(list(boundaries(len(canonical))))
    assert ends == sorted(ends)
    assert all(0 <= end <= len(prompt) for end in ends)


def test_text_is_found_again_byte_by_byte() -> None:
    prompt = rendered(TEXT)
    header = prompt.index(TEXT.encode()[:20])
    role = len(b"user\x1e")
    ends = token_ends(canonical_parts(chat(TEXT)), BYTES.of(prompt))
    assert ends[:3] == [header + boundary - role for boundary in (512, 1024, 1536)]


def test_what_is_not_in_the_prompt_as_it_is_ends_where_the_next_text_begins() -> None:
    body = {**chat(TEXT), "tools": [{"name": "x" * 1200}]}
    prompt = b"<tools rendered in their own way>" + rendered(TEXT)
    ends = token_ends(canonical_parts(body), BYTES.of(prompt))
    assert ends[:2] == [prompt.index(TEXT.encode()[:20])] * 2


def test_text_that_the_template_trims_is_found() -> None:
    ends = token_ends(canonical_parts(chat(f"\n\n{TEXT}\n")), BYTES.of(rendered(TEXT.strip())))
    assert ends[0] == len("<|user|>") + 512 - len(b"user\x1e") - 2


def test_text_that_the_template_changed_is_placed_in_proportion() -> None:
    """Between the messages around it that are found."""
    lost = "#" * 2000
    prompt = b"<|user|>begin<|end|>" + b"." * 1000 + b"<|user|>" + TEXT.encode() + b"<|end|>"
    ends = token_ends(canonical_parts(chat("begin", lost, TEXT)), BYTES.of(prompt))
    steps = [later - earlier for earlier, later in pairwise(ends[:3])]
    assert all(200 < step < 400 for step in steps)


def test_a_prompt_of_which_nothing_is_found_is_not_noted() -> None:
    assert token_ends(canonical_parts(chat(TEXT)), BYTES.of(b"something else")) == []


def chunks_of(text: str, block_tokens: int, prompt: list[int] | None = None) -> list[tuple[int, int, int]]:
    tokens = list(text.encode())
    return covered_chunks(
        canonical_parts({"model": "m", "prompt": text}),
        tokens,
        BYTES.of(tokens if prompt is None else prompt),
        tenant="t",
        model="m",
        cache_salt="s",
        adapter="",
        block_tokens=block_tokens,
    )


def test_a_chunk_stands_on_the_last_block_that_is_full_at_its_end() -> None:
    """What comes after the chunk in the same block may be another text in the next request."""
    text = TEXT[:1100]
    hashes = chunk_hashes(text.encode(), tenant="t", model="m")
    blocks = token_chain.chain(token_chain.root("s", ""), list(text.encode()), 200)
    assert chunks_of(text, 200) == [(hashes[0], blocks[1], 512), (hashes[1], blocks[4], 1024)]


def test_a_chunk_shorter_than_a_block_stands_on_the_block_around_it_if_that_is_full() -> None:
    text = TEXT[:1100]
    [first, second] = chunks_of(text, 600)
    assert first[1] == second[1] == token_chain.chain(token_chain.root("s", ""), list(text.encode()), 600)[0]
    assert chunks_of(text, 1200) == []


def test_a_text_that_was_cut_is_not_noted() -> None:
    assert chunks_of(TEXT[:1100], 200, list(TEXT[:1000].encode())) == []


class Tokenizer(SimpleNamespace):
    """What `read_tokenizer` asks of a tokenizer."""

    vocabulary: dict[str, int]
    added_tokens_decoder: dict[int, Any]

    def get_vocab(self) -> dict[str, int]:
        return self.vocabulary

    def decode(self, token_ids: list[int]) -> str:
        return "".join(f"[{token_id}]" for token_id in token_ids)


def byte_level_vocabulary() -> dict[str, int]:
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in seen]
    letters = {byte: chr(byte) for byte in seen} | {byte: chr(256 + index) for index, byte in enumerate(hidden)}
    return {letters[byte]: byte for byte in range(256)}


def test_a_byte_level_vocabulary_is_read_back_to_bytes() -> None:
    vocabulary = byte_level_vocabulary() | {"\u0120the": 256, "<|end|>": 258}
    special = {258: SimpleNamespace(content="<|end|>")}
    table = read_tokenizer(Tokenizer(vocabulary=vocabulary, added_tokens_decoder=special))
    assert table.of(list("ä 漢\n".encode())).text == "ä 漢\n".encode()
    assert table.of([256, 258, 257, 999]) == PromptBytes(b" the<|end|>", [4, 11, 11, 11])


def test_a_sentence_piece_vocabulary_is_read_back_to_bytes() -> None:
    vocabulary = {"\u2581the": 0, "<0x0A>": 1, "ratio": 2, "</s>": 3}
    table = read_tokenizer(Tokenizer(vocabulary=vocabulary, added_tokens_decoder={3: "</s>"}))
    assert table.of([0, 2, 1, 3]).text == b" theratio\n</s>"


def test_another_kind_of_vocabulary_is_decoded_token_by_token() -> None:
    table = read_tokenizer(Tokenizer(vocabulary={"a": 0, "b": 1}, added_tokens_decoder={}))
    assert table.of([1, 0, 1]).text == b"[1][0][1]"


@pytest.mark.parametrize("count", [0, 1])
def test_the_shortest_prompts_are_no_exception(count: int) -> None:
    assert list(BYTES.of([65] * count).ends) == [1] * count
