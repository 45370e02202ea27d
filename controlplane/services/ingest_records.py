"""Store what nodes kept while nobody could be told, each record exactly once, and tell them what is stored.

Called by `rpc.agent_service`. Records, readings and the mark up to which a spool is stored go into one transaction, so a
repeat is recognised whatever was lost in between. Nothing is acknowledged that is not in SQL: with the database away, nodes
keep what they have and deliver it again. A session's reader never waits for the database here.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from controlplane.clock import Clock
from controlplane.errors import DatabaseVersionError, StokerError, UnavailableError
from controlplane.fleet.history import EngineSample, FleetEvent
from controlplane.fleet.node_records import (
    EngineReading,
    NodeRecord,
    RecordBatch,
    RecordsReceived,
    RequestRecord,
    RequestRow,
    SpoolPosition,
)
from controlplane.fleet.observed import NodeLocation, Severity
from controlplane.fleet.samples import engine_sample
from controlplane.runtime.agent_sessions import AgentSession
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.tasks import TaskScope
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork

log = structlog.get_logger(__name__)

WAITING_MAX = 50_000  # records in memory; nodes deliver the others again
TOGETHER_MAX = 2_000  # records in a transaction
AGE_MAX = timedelta(days=40)
AHEAD_MAX = timedelta(minutes=10)
STEP_BACK_MAX = timedelta(minutes=1)  # of a clock that was corrected while a request ran


@dataclass(frozen=True, slots=True)
class _Offer:
    """A batch as it came in."""

    session: AgentSession
    location: NodeLocation | None
    clock_error: timedelta  # the node's clock minus ours
    batch: RecordBatch


@dataclass(frozen=True, slots=True)
class _Stored:
    """What became of an offer."""

    received: RecordsReceived
    problems: tuple[str, ...]  # of records that were left out
    newly_dropped: int  # by the node, since it last told


class IngestRecords:
    def __init__(self, store: FleetStore, events: EventLog, database: Database, tasks: TaskScope, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._database = database
        self._tasks = tasks
        self._clock = clock
        self._greetings: deque[AgentSession] = deque()
        self._offers: deque[_Offer] = deque()
        self._waiting = 0  # records in `_offers`
        self._working = False
        self._away = False

    def greeted(self, session: AgentSession) -> None:
        """The agent keeps records: it is told what is stored of its spools, and so that it may deliver."""
        self._greetings.append(session)
        self._work()

    def offered(self, session: AgentSession, batch: RecordBatch) -> None:
        """A batch came. It is acknowledged later, or never; then the node delivers it again."""
        if self._waiting + len(batch.records) > WAITING_MAX:
            return
        node = self._store.snapshot.desired.nodes.get(session.node)
        error = timedelta(seconds=session.clock_error_seconds or 0.0)
        self._offers.append(_Offer(session, node.location if node else None, error, batch))
        self._waiting += len(batch.records)
        self._work()

    def _work(self) -> None:
        if not self._working:
            self._working = True
            self._tasks.spawn("store records", self._drain())

    async def _drain(self) -> None:
        try:
            while self._greetings or self._offers:
                while self._greetings:
                    await self._greet(self._greetings.popleft())
                offers = self._take()
                if offers and not await self._keep(offers):
                    self._forget_offers()
        finally:
            self._working = False

    def _take(self) -> list[_Offer]:
        taken: list[_Offer] = []
        count = 0
        while self._offers and (not taken or count + len(self._offers[0].batch.records) <= TOGETHER_MAX):
            taken.append(self._offers.popleft())
            count += len(taken[-1].batch.records)
        self._waiting -= count
        return taken

    def _forget_offers(self) -> None:
        self._offers.clear()
        self._waiting = 0

    async def _greet(self, session: AgentSession) -> None:
        node = session.node
        try:
            known = await self._database.run(lambda uow: uow.spool_positions.of_node(node))
        except StokerError:
            known = []
        for position in known:
            session.received(RecordsReceived(position.spool_id, position.sequence))
        if not known:
            session.received(RecordsReceived("", 0))

    async def _keep(self, offers: Sequence[_Offer]) -> bool:
        """False: the database is away. What it refuses is found by halves and left out alone."""
        now = self._clock.now()
        try:
            stored = await self._database.run(lambda uow: [_write(uow, offer, now) for offer in offers])
        except (UnavailableError, DatabaseVersionError) as error:
            if not self._away:
                self._away = True
                log.warning("records_not_stored", reason=str(error), do="nodes keep them and deliver them again")
            return False
        except StokerError as error:
            for part in _parts(offers, str(error)):
                if not await self._keep(part):
                    return False
            return True
        if self._away:
            self._away = False
            log.info("records_stored_again")
        for offer, result in zip(offers, stored, strict=True):
            offer.session.received(result.received)
            self._tell(offer.session.node, result, now)
        return True

    def _tell(self, node: str, result: _Stored, now: datetime) -> None:
        found: list[FleetEvent] = []
        if result.problems:
            text = f"{len(result.problems)} records of this node were left out of the history: {result.problems[0]}"
            action = (
                "upgrade the control plane if the agent is newer; else check the node's clock and its engines' plug-in"
            )
            found.append(FleetEvent(now, Severity.WARNING, "records_refused", text, node=node, action=action))
        if result.newly_dropped:
            text = f"{result.newly_dropped} records were dropped on this node before they could be delivered"
            action = "give the agent more in [spool], if the node is to be cut off for so long again"
            found.append(FleetEvent(now, Severity.WARNING, "records_dropped", text, node=node, action=action))
        if found:
            self._events.append(found)


def _parts(offers: Sequence[_Offer], reason: str) -> list[list[_Offer]]:
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


def _write(uow: UnitOfWork, offer: _Offer, now: datetime) -> _Stored:
    """What is new of an offer, and the mark. In the caller's transaction."""
    node, batch = offer.session.node, offer.batch
    known = uow.spool_positions.get(node, batch.spool_id)
    mark, dropped = (known.sequence, known.dropped_total) if known else (0, 0)
    rows: list[RequestRow] = []
    samples: list[EngineSample] = []
    problems: list[str] = []
    place = offer.location or NodeLocation("", "")
    for record in batch.records:
        if record.sequence <= mark:
            continue
        mark = record.sequence
        body = _corrected(record.body, offer.clock_error)
        problem = record.problem or _implausible(body, now)
        if problem:
            problems.append(problem)
        elif isinstance(body, RequestRecord):
            rows.append(RequestRow(node, batch.spool_id, record.sequence, place.provider, place.region, body))
        elif body is not None:
            samples.append(engine_sample(body.report, body.taken_at, node, place.provider, place.region, None))
    uow.request_records.append_many(rows)
    uow.samples.append_many(samples)
    told = max(dropped, batch.dropped_total)
    uow.spool_positions.put_many([SpoolPosition(node, batch.spool_id, mark, told, now)])
    return _Stored(RecordsReceived(batch.spool_id, mark), tuple(problems), told - dropped)


def _corrected(body: RequestRecord | EngineReading | None, error: timedelta) -> RequestRecord | EngineReading | None:
    """By our clock. Raises nothing: at the ends of time a time stays as it is, and is found implausible."""
    try:
        match body:
            case RequestRecord():
                finished_at, started_at = body.finished_at - error, body.started_at - error
                if finished_at < started_at <= finished_at + STEP_BACK_MAX:
                    started_at = finished_at
                return replace(body, started_at=started_at, finished_at=finished_at)
            case EngineReading():
                return replace(body, taken_at=body.taken_at - error)
            case None:
                return None
    except OverflowError:
        return body


def _implausible(body: RequestRecord | EngineReading | None, now: datetime) -> str:
    """What is wrong with its times, for people; "" when nothing is."""
    if body is None:
        return ""
    at = body.finished_at if isinstance(body, RequestRecord) else body.taken_at
    if at > now + AHEAD_MAX:
        return f"{at:%Y-%m-%d %H:%M} UTC lies in the future; run NTP on the node"
    if at < now - AGE_MAX:
        return f"{at:%Y-%m-%d %H:%M} UTC is longer ago than {AGE_MAX.days} days; run NTP on the node"
    if isinstance(body, RequestRecord) and not at - AGE_MAX <= body.started_at <= at:
        return "a request that took longer than weeks, or ended before it began"
    return ""
