"""What goes into the file comes out of it, small; what cannot go in, or is no record, is told."""

from dataclasses import fields
from typing import Any

import msgspec
import pytest

from node_agent.session.records import RequestOutcome, RequestRecord
from node_agent.spool import payloads
from node_agent.spool.payloads import UnreadableRecordError
from tests.support.spool import request, sample


@pytest.mark.parametrize("outcome", RequestOutcome)
def test_a_request_comes_back_whole(outcome: RequestOutcome) -> None:
    record = request(outcome=outcome, cached_tokens=4, queue_seconds=0.5, tenant="ünïcode", status_code=0)
    kind, payload = payloads.encode(record)
    assert payloads.decode(kind, payload) == (record, len(payload))
    assert len(payload) < 160


def test_a_sample_comes_back_without_what_only_the_present_needs() -> None:
    kind, payload = payloads.encode(sample(3, log_tail=("x" * 4000,), served_paths=("/v1/completions",)))
    assert payloads.decode(kind, payload)[0] == sample(3)
    assert len(payload) < 700


def test_a_file_of_an_older_and_of_a_newer_release_can_be_read() -> None:
    values = msgspec.msgpack.decode(payloads.encode(request())[1])
    required = sum(
        1 for field in fields(RequestRecord) if field.name != "prompt_tokens" and "None" not in str(field.type)
    )
    older, _ = payloads.decode(payloads.REQUEST, msgspec.msgpack.encode(values[:required]))
    assert older == request(prompt_tokens=None, ttft_seconds=None)
    newer, _ = payloads.decode(payloads.REQUEST, msgspec.msgpack.encode([*values, "a field of tomorrow"]))
    assert newer == request()


@pytest.mark.parametrize("changes", [{"request_id": "\ud800"}, {"prompt_tokens": 2**70}, {"model": "m" * 300_000}])
def test_what_cannot_be_written_is_told(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRecordError):
        payloads.encode(request(**changes))


@pytest.mark.parametrize(("kind", "payload"), [(1, b""), (1, b"\x93\x01"), (2, b"no"), (2, b""), (7, b"")])
def test_what_is_no_record_is_told(kind: int, payload: bytes) -> None:
    with pytest.raises(UnreadableRecordError):
        payloads.decode(kind, payload)
