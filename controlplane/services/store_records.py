"""What becomes of a batch of a node's records in one transaction: stored, left out, and up to where. Called by `ingest_records`.

Its times are by our clock already. Whatever is wrong with a record, the mark moves past it: it would come for ever otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from controlplane.fleet.hardware_samples import devices_count
from controlplane.fleet.history import EngineSample
from controlplane.fleet.node_records import (
    EngineReading,
    NodeRecord,
    RecordBatch,
    RecordsReceived,
    RequestRecord,
    RequestRow,
    SpoolPosition,
)
from controlplane.fleet.observed import NodeLocation
from controlplane.fleet.record_times import implausible
from controlplane.fleet.samples import engine_sample
from controlplane.runtime.agent_sessions import AgentSession
from controlplane.storage.unit_of_work import UnitOfWork

READING_SECONDS = 10.0  # what a reading stands for: nodes take one so often while they are cut off


@dataclass(frozen=True, slots=True)
class Kept:
    """How long history is kept, as of now."""

    samples: timedelta
    requests: timedelta


@dataclass(frozen=True, slots=True)
class Offer:
    """A batch as it came in."""

    session: AgentSession
    location: NodeLocation | None
    clock_error: timedelta  # the node's clock minus ours, as of then
    batch: RecordBatch


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an offer."""

    received: RecordsReceived
    problems: tuple[str, ...]  # of records that were left out
    newly_dropped: int  # by the node, since it last told
    too_old: tuple[datetime, ...]  # records left out since history is not kept for so long
    stored_count: int


def parts(offers: Sequence[Offer], reason: str) -> list[list[Offer]]:
    """Smaller pieces of what the database refused as a whole; a record that stands alone is emptied."""
    if len(offers) > 1:
        return [[offer] for offer in offers]
    [offer] = offers
    records = offer.batch.records
    if len(records) > 1:
        middle = len(records) // 2
        return [
            [replace(offer, batch=replace(offer.batch, records=half))] for half in (records[:middle], records[middle:])
        ]
    if records[0].body is None:
        return []  # not even its mark can be written: the node will say it again
    return [[replace(offer, batch=replace(offer.batch, records=(NodeRecord(records[0].sequence, None, reason),)))]]


def store_batch(uow: UnitOfWork, offer: Offer, kept: Kept, now: datetime) -> Stored:
    """What is new of an offer, and the mark. In the caller's transaction."""
    node, batch = offer.session.node, offer.batch
    known = uow.spool_positions.get(node, batch.spool_id)
    mark, dropped = (known.sequence, known.dropped_total) if known else (0, 0)
    rows: list[RequestRow] = []
    samples: list[EngineSample] = []
    problems: list[str] = []
    too_old: list[datetime] = []
    place = offer.location or NodeLocation("", "")
    for record in batch.records:
        if record.sequence <= mark:
            continue
        mark = record.sequence
        body = record.body
        problem = record.problem or (implausible(body, now) if body is not None else "")
        if problem:
            problems.append(problem)
        elif isinstance(body, RequestRecord):
            if body.finished_at < now - kept.requests:
                too_old.append(body.finished_at)
            else:
                rows.append(RequestRow(node, batch.spool_id, record.sequence, place.provider, place.region, body))
        elif body is not None:
            if body.taken_at < now - kept.samples:
                too_old.append(body.taken_at)
            else:
                samples.append(_sample(body, node, place))
    uow.request_records.append_many(rows)
    uow.samples.append_many(samples)
    told = max(dropped, batch.dropped_total)
    uow.spool_positions.put_many([SpoolPosition(node, batch.spool_id, mark, told, now)])
    received = RecordsReceived(batch.spool_id, mark)
    return Stored(received, tuple(problems), told - dropped, tuple(too_old), len(rows) + len(samples))


def _sample(body: EngineReading, node: str, place: NodeLocation) -> EngineSample:
    return engine_sample(
        body.report,
        body.taken_at,
        node,
        place.provider,
        place.region,
        None,
        covers_seconds=READING_SECONDS,
        devices_count=devices_count(body.report, {}),
    )
