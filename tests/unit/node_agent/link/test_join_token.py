"""Join tokens: what passes, and what each broken one is told."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.link.join_token import parse_join_token
from node_agent.link.problems import TokenMalformedError
from tests.fakes.authority import FakeAuthority

AUTHORITY = FakeAuthority()
TOKEN = AUTHORITY.join_token()


def test_a_good_token_pins_its_ca_and_hides_its_secret() -> None:
    token = parse_join_token(f"  {TOKEN}\n")
    assert (token.token_id, token.secret, token.ca_pem) == ("tok1", "s3cret", AUTHORITY.ca_pem)
    assert "s3cret" not in repr(token)


def _leaf() -> str:
    import base64
    import ssl

    pem = AUTHORITY.pair("leaf").certificate_pem.decode()
    return base64.urlsafe_b64encode(ssl.PEM_cert_to_DER_cert(pem)).decode().rstrip("=")


@pytest.mark.parametrize(
    ("given_token", "message"),
    [
        ("", "is empty"),
        ("hello", "starts with stoker-join-v1"),
        (TOKEN.replace("v1", "v2", 1), "upgrade stoker-agent"),
        (TOKEN.rsplit(".", 1)[0], "not copied whole"),
        (f"{TOKEN}.more", "5 parts"),
        (TOKEN.replace("s3cret", "", 1), "the secret in the join token is empty"),
        (TOKEN.replace("tok1", "to k1", 1), "the id in the join token"),
        (TOKEN[:-40], "cut off"),
        (f"{TOKEN}!", "foreign characters"),
        (f"stoker-join-v1.a.b.{'A' * 40}", "cut off"),
        (f"stoker-join-v1.a.b.{_leaf()}", "not a CA's"),
        ("x" * 20_000, "20000 characters"),
    ],
)
def test_a_broken_token_is_told_what_is_wrong(given_token: str, message: str) -> None:
    with pytest.raises(TokenMalformedError, match=message) as caught:
        parse_join_token(given_token)
    assert "s3cret" not in str(caught.value)


@given(st.text(), st.integers(0, len(TOKEN)))
def test_garbage_never_raises_anything_else(garbage: str, cut: int) -> None:
    for text in (garbage, TOKEN[:cut] + garbage, f"stoker-join-v1.a.b.{garbage}"):
        with suppress(TokenMalformedError):
            parse_join_token(text)
