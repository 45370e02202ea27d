"""A tenant's part of the prefix cache: nobody gets into another's, and what is malformed stays so."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.vllm_plugins.cache_salt import salt_of, salted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=10).filter(lambda key: key != "cache_salt"), JSON, max_size=4)
# JSON may be written in each of these, and vLLM reads all of them.
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])


@given(OBJECTS, ENCODINGS, st.booleans(), st.sampled_from(["", " \r\n\t"]))
def test_every_object_gets_its_tenants_salt_and_nothing_else(
    body: dict[str, Any], encoding: str, ascii_only: bool, around: str
) -> None:
    raw = (around + json.dumps(body, ensure_ascii=ascii_only) + around).encode(encoding)
    assert json.loads(salted(raw, "acme")) == {**body, "cache_salt": salt_of("acme")}


@pytest.mark.parametrize("written", ['{"cache_salt": "mine"}', '{"cache_salt": "x", "cache_salt": "mine"}'])
def test_a_clients_own_salt_divides_its_tenants_part(written: str) -> None:
    got = json.loads(salted(written.encode(), "acme"))["cache_salt"]
    assert got == salt_of("acme", "mine")
    assert got not in (salt_of("acme"), salt_of("other", "mine"), "mine")


def test_no_salt_can_be_hidden_or_be_chosen_to_be_anothers() -> None:
    wanted = salt_of("victim")
    for written in (json.dumps({"cache_salt": wanted}), '{"cache\\u005fsalt": "' + wanted + '"}'):
        assert json.loads(salted(written.encode(), "thief"))["cache_salt"] != wanted


def test_no_tenant_and_salt_come_to_another_tenants() -> None:
    pairs = [("ab", None), ("a", "b"), ("a", "b\x1f"), ("a\x1fb", None), ("a", None), ("a", "")]
    assert len({salt_of(*pair) for pair in pairs}) == len(pairs)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[1, 2}",
        b'"}',
        b"\xff\xfe",
        b'[{"cache_salt": "x"}]',
        b'{"cache_salt": 5}',
        b'{"cache_salt": ""}',
    ],
)
def test_what_vllm_refuses_is_still_refused_by_it(body: bytes) -> None:
    assert salted(body, "acme") == body


@given(st.binary(max_size=40))
def test_nothing_becomes_json_by_it(body: bytes) -> None:
    passed = salted(b"{" + body + b"}", "acme")
    if passed != b"{" + body + b"}":
        try:
            json.loads(b"{" + body + b"}")
        except ValueError:
            with pytest.raises(ValueError):  # noqa: PT011 - UnicodeDecodeError or JSONDecodeError
                json.loads(passed)
