"""Spooled records on their way to the wire, and what was received of them. Called by `codec` only; never raises."""

from controlplane.proto.stoker.v1 import agent_pb2
from node_agent.link.codec_engines import engine_message
from node_agent.link.codec_values import real, text, timestamp, whole
from node_agent.session.records import EngineSample, Record, RecordBatch, RecordsReceived, RequestOutcome, RequestRecord

_OUTCOMES = {
    RequestOutcome.COMPLETED: agent_pb2.REQUEST_OUTCOME_COMPLETED,
    RequestOutcome.ABORTED: agent_pb2.REQUEST_OUTCOME_ABORTED,
    RequestOutcome.REFUSED: agent_pb2.REQUEST_OUTCOME_REFUSED,
    RequestOutcome.FAILED: agent_pb2.REQUEST_OUTCOME_FAILED,
}


def records_message(batch: RecordBatch) -> agent_pb2.RecordBatch:
    return agent_pb2.RecordBatch(
        spool_id=text(batch.spool_id),
        records=[_record(record) for record in batch.records],
        dropped_total=whole(batch.dropped) or 0,
    )


def records_received(message: agent_pb2.RecordsReceived) -> RecordsReceived:
    return RecordsReceived(message.spool_id, message.sequence)


def _record(record: Record) -> agent_pb2.Record:
    if isinstance(record.body, EngineSample):
        return agent_pb2.Record(sequence=record.sequence, sample=_sample(record.body))
    return agent_pb2.Record(sequence=record.sequence, request=_request(record.body))


def _sample(sample: EngineSample) -> agent_pb2.EngineSample:
    return agent_pb2.EngineSample(taken_at=timestamp(sample.taken_at), status=engine_message(sample.status))


def _request(request: RequestRecord) -> agent_pb2.RequestRecord:
    return agent_pb2.RequestRecord(
        request_id=text(request.request_id),
        engine_id=text(request.engine_id),
        instance_id=text(request.instance_id),
        model=text(request.model),
        tenant=text(request.tenant),
        started_at=timestamp(request.started_at),
        finished_at=timestamp(request.finished_at),
        outcome=_OUTCOMES[request.outcome],
        status_code=whole(request.status_code, bits=32) or 0,
        prompt_tokens=whole(request.prompt_tokens),
        cached_tokens=whole(request.cached_tokens),
        output_tokens=whole(request.output_tokens),
        queue_seconds=real(request.queue_seconds),
        ttft_seconds=real(request.ttft_seconds),
        inter_token_seconds_mean=real(request.inter_token_seconds_mean),
    )
