"""Spooled records on the wire: whole, and never an exception for what cannot be told."""

from dataclasses import replace

import pytest

from controlplane.proto.stoker.v1 import agent_pb2
from node_agent.link.codec import agent_message, control_event
from node_agent.session.records import Record, RecordBatch, RecordsReceived, RequestOutcome
from tests.support.spool import T0, request, sample


def test_a_batch_goes_out_whole_with_unknown_left_unset() -> None:
    message = agent_message(RecordBatch("s1", (Record(3, request(cached_tokens=4)), Record(5, sample(10))), 2)).records
    assert (message.spool_id, message.dropped_total) == ("s1", 2)
    assert [record.sequence for record in message.records] == [3, 5]
    told = message.records[0].request
    assert (told.request_id, told.tenant, told.outcome) == ("r1", "acme", agent_pb2.REQUEST_OUTCOME_COMPLETED)
    assert (told.prompt_tokens, told.cached_tokens, told.ttft_seconds) == (10, 4, 0.25)
    assert not told.HasField("output_tokens")
    assert told.started_at.seconds == int(T0.timestamp())
    reading = message.records[1].sample
    assert reading.taken_at.seconds == int(T0.timestamp()) + 10
    assert reading.status.gauges.kv_capacity_tokens == 1000


@pytest.mark.parametrize("outcome", RequestOutcome)
def test_every_outcome_has_a_word(outcome: RequestOutcome) -> None:
    message = agent_message(RecordBatch("s1", (Record(1, request(outcome=outcome)),), 0)).records
    name = agent_pb2.RequestOutcome.Name(message.records[0].request.outcome)
    assert name == f"REQUEST_OUTCOME_{outcome.name}"


def test_what_a_plug_in_got_wrong_is_left_unset() -> None:
    odd = replace(
        request(),
        prompt_tokens=-1,
        ttft_seconds=float("nan"),
        status_code=-5,
        tenant="t\ud800",
        started_at=T0.replace(tzinfo=None),
    )
    [record] = agent_message(RecordBatch("s1", (Record(1, odd),), 0)).records.records
    told = record.request
    assert (told.HasField("prompt_tokens"), told.HasField("ttft_seconds"), told.HasField("started_at")) == (
        False,
        False,
        False,
    )
    assert (told.status_code, told.tenant) == (0, "t?")


def test_what_was_received() -> None:
    received = agent_pb2.RecordsReceived(spool_id="s1", sequence=9)
    assert control_event(agent_pb2.ControlMessage(records_received=received)) == RecordsReceived("s1", 9)
