"""The times of what nodes deliver: by our clock, and whether they can be believed. Pure; called by `services.ingest_records`."""

from dataclasses import replace
from datetime import datetime, timedelta

from controlplane.fleet.node_clock import NodeClock, minus
from controlplane.fleet.node_records import EngineReading, NodeRecord, RecordBatch, RequestRecord

AHEAD_MAX = timedelta(minutes=10)
DURATION_MAX = timedelta(days=40)
STEP_BACK_MAX = timedelta(minutes=1)  # of a clock that was corrected a little while a request ran

Body = RequestRecord | EngineReading


def by_our_clock(clock: NodeClock, batch: RecordBatch, now: datetime) -> tuple[NodeClock, RecordBatch]:
    """The batch with our times, and what is known of the node's clock after it."""
    records: list[NodeRecord] = []
    for record in batch.records:
        if record.body is None:
            records.append(record)
        else:
            clock = clock.read(told_at(record.body), now)
            records.append(replace(record, body=_corrected(record.body, clock)))
    return clock, replace(batch, records=tuple(records))


def told_at(body: Body) -> datetime:
    """The moment that decides where in history it belongs."""
    return body.finished_at if isinstance(body, RequestRecord) else body.taken_at


def implausible(body: Body, now: datetime) -> str:
    """What is wrong with its times, for people; "" when nothing is."""
    at = told_at(body)
    if at > now + AHEAD_MAX:
        return f"{at:%Y-%m-%d %H:%M} UTC lies in the future; run NTP on the node"
    if isinstance(body, RequestRecord) and not at - body.started_at <= DURATION_MAX:
        return "a request that took longer than weeks"
    if isinstance(body, RequestRecord) and body.started_at > at:
        return "a request that ended before it began"
    return ""


def _corrected(body: Body, clock: NodeClock) -> Body:
    if isinstance(body, EngineReading):
        return replace(body, taken_at=minus(body.taken_at, clock.error))
    finished_at, started_at = minus(body.finished_at, clock.error), minus(body.started_at, clock.error)
    if started_at > finished_at:
        # It began before the clock was set back.
        earlier = [minus(body.started_at, error) for error in clock.errors[: clock.index]]
        fitting = [moment for moment in earlier if moment <= finished_at]
        if fitting:
            started_at = max(fitting)
        elif started_at <= finished_at + STEP_BACK_MAX:
            started_at = finished_at
    return replace(body, started_at=started_at, finished_at=finished_at)
