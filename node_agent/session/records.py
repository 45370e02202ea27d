"""What must reach the history exactly once: frozen values.

Made from what the plug-in in vLLM tells and from the supervisor's statuses; `node_agent.spool` keeps them on disk,
`node_agent.link.codec_records` puts them on the wire. `None` means "not known", never zero.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from node_agent.session.facts import EngineStatus


class RequestOutcome(Enum):
    COMPLETED = "completed"  # to its natural end, or to its length limit
    ABORTED = "aborted"  # the client left
    REFUSED = "refused"  # by the engine: a bad request, or too long
    FAILED = "failed"  # the engine's fault


@dataclass(frozen=True, slots=True)
class RequestRecord:
    request_id: str
    engine_id: str
    instance_id: str
    model: str
    tenant: str
    started_at: datetime
    finished_at: datetime
    outcome: RequestOutcome
    status_code: int  # HTTP, as the engine answered; 0: it never did
    prompt_tokens: int | None = None
    cached_tokens: int | None = None  # of the prompt, found in the prefix cache
    output_tokens: int | None = None
    queue_seconds: float | None = None  # waiting inside the engine
    ttft_seconds: float | None = None
    inter_token_seconds_mean: float | None = None


@dataclass(frozen=True, slots=True)
class EngineSample:
    """An engine as it was while the control plane could not be told."""

    taken_at: datetime
    status: EngineStatus


@dataclass(frozen=True, slots=True)
class Record:
    sequence: int  # within the spool; gaps are records that were dropped
    body: RequestRecord | EngineSample


@dataclass(frozen=True, slots=True)
class RecordBatch:
    spool_id: str
    records: tuple[Record, ...]
    dropped: int  # never delivered: the spool was full or too old


@dataclass(frozen=True, slots=True)
class RecordsReceived:
    """The control plane has every record of this spool up to this one. Said once it is durable there.

    It also says one at the start of a session, so that the node knows that it takes records; of no spool, if it has none.
    """

    spool_id: str
    sequence: int
