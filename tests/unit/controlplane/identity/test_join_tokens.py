"""A join token carries its secret and our CA; only a hash of the secret is worth keeping."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from controlplane.identity import join_tokens


def test_a_token_has_four_parts() -> None:
    minted = join_tokens.mint(b"\x30\x82certificate\xff")
    prefix, token_id, secret, pinned = minted.text.split(".")
    assert prefix == "stoker-join-v1"
    assert token_id == minted.token_id
    assert base64.urlsafe_b64decode(pinned + "=" * (-len(pinned) % 4)) == b"\x30\x82certificate\xff"
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert join_tokens.secret_matches(secret, minted.secret_hash)


def test_tokens_differ_and_hide_in_a_repr() -> None:
    tokens = [join_tokens.mint(b"ca") for _ in range(50)]
    assert len({token.token_id for token in tokens}) == len({token.secret_hash for token in tokens}) == 50
    assert tokens[0].text.split(".")[2] not in repr(tokens[0])


@given(st.text())
def test_another_secret_does_not_match(text: str) -> None:
    minted = join_tokens.mint(b"ca")
    assert not join_tokens.secret_matches(text, minted.secret_hash)
    assert join_tokens.secret_matches(text, join_tokens.hash_secret(text))
