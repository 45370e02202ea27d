"""What nodes kept for the history, from the wire to facts. Called by `rpc.agent_service`.

A record that cannot be believed keeps its number and loses its content: it must be acknowledged like the others, or the
node would deliver it for ever.
"""

import re
from typing import Any

from controlplane.fleet.node_records import (
    EngineReading,
    NodeRecord,
    RecordBatch,
    RecordsReceived,
    RequestOutcome,
    RequestRecord,
)
from controlplane.proto.stoker.v1 import agent_pb2
from controlplane.rpc import agent_codec
from controlplane.rpc.bounded import COUNT_MAX
from controlplane.rpc.timestamps import from_wire

RECORDS_MAX = 2_000  # in a batch; the node delivers the others again
SEQUENCE_MAX = 2**63 - 1
_SECONDS_MAX = 86_400.0 * 30
_STATUS_MAX = 999
_SPOOL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OUTCOMES = {
    agent_pb2.REQUEST_OUTCOME_COMPLETED: RequestOutcome.COMPLETED,
    agent_pb2.REQUEST_OUTCOME_ABORTED: RequestOutcome.ABORTED,
    agent_pb2.REQUEST_OUTCOME_REFUSED: RequestOutcome.REFUSED,
    agent_pb2.REQUEST_OUTCOME_FAILED: RequestOutcome.FAILED,
}


class _UnbelievableError(Exception):
    """The message says what is wrong with a record."""


def batch_from(message: agent_pb2.RecordBatch) -> RecordBatch | None:
    """In the order of their numbers, each number once. None: there is nothing in it that could be acknowledged."""
    if _SPOOL_ID.fullmatch(message.spool_id) is None:
        return None
    numbered = {
        record.sequence: _record(record)
        for record in message.records[:RECORDS_MAX]
        if 0 < record.sequence <= SEQUENCE_MAX
    }
    if not numbered:
        return None
    records = tuple(numbered[sequence] for sequence in sorted(numbered))
    return RecordBatch(message.spool_id, records, min(message.dropped_total, COUNT_MAX))


def received_to_wire(received: RecordsReceived) -> agent_pb2.RecordsReceived:
    return agent_pb2.RecordsReceived(spool_id=received.spool_id, sequence=received.sequence)


def _record(record: agent_pb2.Record) -> NodeRecord:
    try:
        match record.WhichOneof("body"):
            case "request":
                return NodeRecord(record.sequence, _request(record.request))
            case "sample":
                return NodeRecord(record.sequence, _reading(record.sample))
            case _:
                return NodeRecord(record.sequence, None, "it is of a kind that this release does not know")
    except _UnbelievableError as error:
        return NodeRecord(record.sequence, None, str(error))


def _reading(sample: agent_pb2.EngineSample) -> EngineReading:
    taken_at = from_wire(sample, "taken_at")
    reports = agent_codec.engines_from([sample.status])
    if taken_at is None or not reports or not reports[0].instance_id:
        raise _UnbelievableError("a reading without its time, its engine or a state that this release knows")
    return EngineReading(taken_at, reports[0])


def _request(request: agent_pb2.RequestRecord) -> RequestRecord:
    started_at, finished_at = from_wire(request, "started_at"), from_wire(request, "finished_at")
    if started_at is None or finished_at is None:
        raise _UnbelievableError("a request without its times")
    if not request.engine_id:
        raise _UnbelievableError("a request without its engine")
    if request.status_code > _STATUS_MAX:
        raise _UnbelievableError(f"a request with status {request.status_code}")
    return RequestRecord(
        request_id=_text(request, "request_id", 256),
        engine_id=_text(request, "engine_id", 320),
        instance_id=_text(request, "instance_id", 64),
        model=_text(request, "model", 192),
        tenant=_text(request, "tenant", 128),
        started_at=started_at,
        finished_at=finished_at,
        outcome=_OUTCOMES.get(request.outcome, RequestOutcome.UNKNOWN),
        status_code=request.status_code or None,
        prompt_tokens=_count(request, "prompt_tokens"),
        cached_tokens=_count(request, "cached_tokens"),
        output_tokens=_count(request, "output_tokens"),
        queue_seconds=_seconds(request, "queue_seconds"),
        ttft_seconds=_seconds(request, "ttft_seconds"),
        inter_token_seconds_mean=_seconds(request, "inter_token_seconds_mean"),
    )


def _text(message: Any, name: str, length_max: int) -> str:
    value: str = getattr(message, name)
    if len(value) > length_max:
        raise _UnbelievableError(f"{name} of {len(value)} characters, where {length_max} are the most")
    return value if value.isprintable() else "".join(c if c.isprintable() else " " for c in value)


def _count(message: Any, name: str) -> int | None:
    if not message.HasField(name):
        return None
    value: int = getattr(message, name)
    if value > COUNT_MAX:
        raise _UnbelievableError(f"{name} of {value}")
    return value


def _seconds(message: Any, name: str) -> float | None:
    if not message.HasField(name):
        return None
    value: float = getattr(message, name)
    if not 0 <= value <= _SECONDS_MAX:  # also for what is no number
        raise _UnbelievableError(f"{name} of {value:g}")
    return value
