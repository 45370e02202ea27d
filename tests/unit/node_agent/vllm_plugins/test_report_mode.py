"""A client's wish for other KV events: taken out wherever it is hidden, and nothing else is touched."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.vllm_plugins.report_mode import without_report_mode

NAME = "kv_cache_report_mode"
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
ARGUMENTS = st.dictionaries(st.text(max_size=8), VALUES | st.lists(VALUES, max_size=3), max_size=3)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])


def escaped(text: str) -> str:
    """As JSON may write it: each letter as an escape."""
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


@given(ARGUMENTS, ARGUMENTS, VALUES, ENCODINGS, st.booleans())
def test_it_is_taken_out_of_all_that_become_extra_arguments(
    mine: dict[str, Any], others: dict[str, Any], mode: Any, encoding: str, hidden: bool
) -> None:
    body = {"model": "m", "vllm_xargs": {**mine, NAME: mode}, "sampling_params": {"n": 1, "extra_args": {NAME: mode}}}
    written = json.dumps({**body, "more": others}, ensure_ascii=False)
    raw = (written.replace(NAME, escaped(NAME)) if hidden else written).encode(encoding, "surrogatepass")
    left = {"model": "m", "vllm_xargs": mine, "sampling_params": {"n": 1, "extra_args": {}}, "more": others}
    assert json.loads(without_report_mode(raw)) == left


def test_the_last_of_two_that_share_a_name_is_what_is_read() -> None:
    body = b'{"vllm_xargs": {"a": 1}, "vllm_xargs": {"kv_cache_report_mode": "full", "kv_cache_report_mode": "x"}}'
    assert json.loads(without_report_mode(body)) == {"vllm_xargs": {}}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "vllm_xargs": {"session_id": "s"}}',
        b'{"messages": [{"role": "user", "content": "what is kv_cache_report_mode?"}]}',
        b'{"kv_cache_report_mode": "full", "kv_transfer_params": {"kv_cache_report_mode": "full"}}',
        b'{"vllm_xargs": "kv_cache_report_mode", "sampling_params": ["kv_cache_report_mode"]}',
        b'{"content": "\\u0041\\u00e4"}',
        b'  {"a": 1}  ',
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"vllm_xargs": {"kv_cache_report_mode": "full"}',
        b'{"kv_cache_report_mode":' * 2000,
    ],
)
def test_a_body_with_nothing_to_take_out_is_passed_as_it_is(body: bytes) -> None:
    assert without_report_mode(body) is body
