"""What a node keeps for the history until it is there: records of requests, and readings taken while nobody could be told.

Made by `rpc.records_codec` from what agents deliver, judged and stored by `services.ingest_records`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from controlplane.fleet.observed import EngineReport


class RequestOutcome(Enum):
    COMPLETED = "completed"  # to its natural end, or to its length limit
    ABORTED = "aborted"  # the client left
    REFUSED = "refused"  # by the engine: a bad request, or too long
    FAILED = "failed"  # the engine's fault
    UNKNOWN = "unknown"  # told by a newer agent, in a word that this release does not have


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request, as the engine saw it. Times are by the node's clock until they are corrected."""

    request_id: str
    engine_id: str
    instance_id: str
    model: str
    tenant: str  # "": the request named none
    started_at: datetime
    finished_at: datetime
    outcome: RequestOutcome
    status_code: int | None = None  # None: the engine never answered
    prompt_tokens: int | None = None
    cached_tokens: int | None = None  # of the prompt, found in the prefix cache
    output_tokens: int | None = None
    queue_seconds: float | None = None  # waiting inside the engine
    ttft_seconds: float | None = None
    inter_token_seconds_mean: float | None = None


@dataclass(frozen=True, slots=True)
class EngineReading:
    """An engine as it was while the control plane could not be told."""

    taken_at: datetime  # by the node's clock
    report: EngineReport


@dataclass(frozen=True, slots=True)
class NodeRecord:
    sequence: int  # within the spool; gaps are records that the node dropped
    body: RequestRecord | EngineReading | None  # None: it could not be read
    problem: str = ""  # why, for people


@dataclass(frozen=True, slots=True)
class RecordBatch:
    spool_id: str
    records: tuple[NodeRecord, ...]
    dropped_total: int  # that the node never delivered, since it began this spool


@dataclass(frozen=True, slots=True)
class RecordsReceived:
    """Everything of this spool up to this record is durable. The empty id: the node has none here, but may begin."""

    spool_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request's record as it is stored, with where it came from. Its times are by the control plane's clock."""

    node: str
    spool_id: str
    sequence: int
    provider: str
    region: str
    record: RequestRecord


@dataclass(frozen=True, slots=True)
class SpoolPosition:
    """How far a node's spool is stored."""

    node: str
    spool_id: str
    sequence: int
    dropped_total: int
    updated_at: datetime
