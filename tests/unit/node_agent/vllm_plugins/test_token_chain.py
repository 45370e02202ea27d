"""Blocks' chain hashes: each stands for every token before it, the salt and the adapter."""

from hypothesis import given
from hypothesis import strategies as st

from node_agent.vllm_plugins import token_chain

TOKENS = st.lists(st.integers(0, 2**31 - 1), max_size=40)


@given(TOKENS, st.integers(1, 8))
def test_a_chain_is_its_blocks_one_after_another(tokens: list[int], size: int) -> None:
    parent = token_chain.root("salt", "")
    expected = []
    for begin in range(0, len(tokens) - size + 1, size):
        parent = token_chain.extend(parent, tokens[begin : begin + size])
        expected.append(parent)
    assert token_chain.chain(token_chain.root("salt", ""), tokens, size) == expected
    assert len(expected) == len(tokens) // size
    assert all(0 <= link < 2**64 for link in expected)


def test_salt_and_adapter_begin_chains_of_their_own() -> None:
    roots = {token_chain.root(*given) for given in (("", ""), ("a", ""), ("", "a"), ("ab", ""), ("a", "b"))}
    assert len(roots) == 5


def test_a_changed_token_changes_its_block_and_all_after_it() -> None:
    before = token_chain.chain(1, [1, 2, 3, 4, 5, 6], 2)
    after = token_chain.chain(1, [1, 2, 3, 9, 5, 6], 2)
    assert before[0] == after[0]
    assert not set(before[1:]) & set(after[1:])
