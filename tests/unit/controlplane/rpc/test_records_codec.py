"""What nodes deliver late is bounded like everything that strangers say; nonsense keeps its number alone."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.fleet.node_records import EngineReading, RecordsReceived, RequestOutcome, RequestRecord
from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from controlplane.rpc import records_codec

AT = Timestamp(seconds=1_700_000_000)
WHEN = datetime.fromtimestamp(1_700_000_000, UTC)
STATUS = fleet_pb2.EngineStatus(engine_id="llama@gcp-1", instance_id="i1", state=fleet_pb2.ENGINE_STATE_READY)


def request(**changes: Any) -> agent_pb2.RequestRecord:
    fields: dict[str, Any] = {
        "request_id": "r1",
        "engine_id": "llama@gcp-1",
        "instance_id": "i1",
        "model": "llama",
        "tenant": "acme",
        "started_at": AT,
        "finished_at": AT,
        "outcome": agent_pb2.REQUEST_OUTCOME_COMPLETED,
        "status_code": 200,
    }
    return agent_pb2.RequestRecord(**{**fields, **changes})


def record(sequence: int = 1, **body: Any) -> agent_pb2.Record:
    return agent_pb2.Record(sequence=sequence, **(body or {"request": request()}))


def batch(*records: agent_pb2.Record, spool_id: str = "s1") -> agent_pb2.RecordBatch:
    return agent_pb2.RecordBatch(spool_id=spool_id, records=records, dropped_total=3)


def only(message: agent_pb2.Record) -> Any:
    found = records_codec.batch_from(batch(message))
    assert found is not None
    [single] = found.records
    return single


def test_a_request_and_a_reading() -> None:
    found = records_codec.batch_from(
        batch(
            record(7, sample=agent_pb2.EngineSample(taken_at=AT, status=STATUS)),
            record(2, request=request(prompt_tokens=5, ttft_seconds=0.5)),
            record(2, request=request(prompt_tokens=5, ttft_seconds=0.5)),
        )
    )
    assert found is not None
    assert (found.spool_id, found.dropped_total, [item.sequence for item in found.records]) == ("s1", 3, [2, 7])
    told, reading = (item.body for item in found.records)
    expected = RequestRecord("r1", "llama@gcp-1", "i1", "llama", "acme", WHEN, WHEN, RequestOutcome.COMPLETED, 200)
    assert isinstance(told, RequestRecord)
    assert (told.prompt_tokens, told.cached_tokens, told.ttft_seconds) == (5, None, 0.5)
    assert (told.request_id, told.finished_at, told.outcome) == (expected.request_id, WHEN, expected.outcome)
    assert isinstance(reading, EngineReading)
    assert (reading.taken_at, reading.report.engine_id) == (WHEN, "llama@gcp-1")


def test_an_outcome_of_tomorrow_and_a_request_that_was_never_answered() -> None:
    body = only(record(request=request(outcome=77, status_code=0))).body
    assert (body.outcome, body.status_code) == (RequestOutcome.UNKNOWN, None)


def test_text_is_made_harmless() -> None:
    assert only(record(request=request(tenant="a\x1b[31m\x00b"))).body.tenant == "a [31m b"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"request": request(model="m" * 5000)}, "5000 characters"),
        ({"request": request(tenant="t" * 129)}, "129 characters"),
        ({"request": request(engine_id="")}, "without its engine"),
        ({"request": request(finished_at=None)}, "without its times"),
        ({"request": request(started_at=Timestamp(seconds=2**40 * 1000))}, "without its times"),
        ({"request": request(prompt_tokens=2**60)}, "prompt_tokens"),
        ({"request": request(ttft_seconds=-0.1)}, "ttft_seconds"),
        ({"request": request(queue_seconds=float("nan"))}, "queue_seconds"),
        ({"request": request(inter_token_seconds_mean=float("inf"))}, "inter_token_seconds_mean"),
        ({"request": request(status_code=70_000)}, "status"),
        ({"sample": agent_pb2.EngineSample(status=STATUS)}, "without its time"),
        ({"sample": agent_pb2.EngineSample(taken_at=AT)}, "its engine"),
    ],
)
def test_what_cannot_be_believed_keeps_its_number_alone(bad: dict[str, Any], words: str) -> None:
    found = only(record(5, **bad))
    assert (found.sequence, found.body) == (5, None)
    assert words in found.problem


def test_a_kind_of_record_of_tomorrow_keeps_its_number_alone() -> None:
    found = only(agent_pb2.Record(sequence=4))
    assert (found.sequence, found.body) == (4, None)
    assert "does not know" in found.problem


@pytest.mark.parametrize(
    "message",
    [
        batch(),
        batch(record(), spool_id=""),
        batch(record(), spool_id="x" * 65),
        batch(record(), spool_id="../etc"),
        batch(record(0)),
        batch(record(2**63)),
    ],
)
def test_what_could_not_be_acknowledged_is_ignored(message: agent_pb2.RecordBatch) -> None:
    assert records_codec.batch_from(message) is None


def test_of_too_many_the_first_are_taken() -> None:
    found = records_codec.batch_from(batch(*(record(number) for number in range(1, 3000))))
    assert found is not None
    assert found.records[-1].sequence == records_codec.RECORDS_MAX


def test_what_was_received() -> None:
    assert records_codec.received_to_wire(RecordsReceived("s1", 9)) == agent_pb2.RecordsReceived(
        spool_id="s1", sequence=9
    )
