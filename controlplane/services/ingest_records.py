"""Store what nodes kept while nobody could be told, each record exactly once, and tell them what is stored.

Called by `rpc.agent_service`. Records, readings and the mark up to which a spool is stored go into one transaction, so a
repeat is recognised whatever was lost in between. Nothing is acknowledged that is not in SQL: with the database away, nodes
keep what they have and deliver it again. What is older than the history that is kept is acknowledged, counted and left out. A
session's reader never waits for the database here.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from controlplane.clock import Clock
from controlplane.errors import DatabaseVersionError, StokerError, UnavailableError
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.node_clock import NodeClock
from controlplane.fleet.node_records import (
    RecordBatch,
    RecordsReceived,
)
from controlplane.fleet.observed import Severity
from controlplane.fleet.record_times import by_our_clock
from controlplane.runtime.agent_sessions import AgentSession
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.tasks import TaskScope
from controlplane.services.store_records import Kept, Offer, Stored, parts, store_batch
from controlplane.storage.database import Database

log = structlog.get_logger(__name__)

WAITING_MAX = 50_000  # records in memory; nodes deliver the others again
TOGETHER_MAX = 2_000  # records in a transaction


@dataclass(frozen=True, slots=True)
class _TooOld:
    """Records of a delivery that were left out."""

    first_at: datetime
    last_at: datetime
    count: int

    def and_more(self, times: Sequence[datetime]) -> "_TooOld":
        return _TooOld(min(self.first_at, *times), max(self.last_at, *times), self.count + len(times))


class IngestRecords:
    def __init__(
        self,
        store: FleetStore,
        events: EventLog,
        database: Database,
        tasks: TaskScope,
        clock: Clock,
        kept: Callable[[], Kept],
    ) -> None:
        self._store = store
        self._events = events
        self._database = database
        self._tasks = tasks
        self._clock = clock
        self._kept = kept
        self._node_clocks: dict[str, NodeClock] = {}
        self._too_old: dict[str, _TooOld] = {}  # node → of the delivery under way
        self.too_old_total = 0
        self._greetings: deque[AgentSession] = deque()
        self._offers: deque[Offer] = deque()
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
        self._offers.append(Offer(session, node.location if node else None, error, batch))
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
                offers, clocks = self._by_our_clock(self._take())
                if offers and not await self._keep(offers):
                    self._forget_offers()
                else:
                    self._node_clocks.update(clocks)
        finally:
            self._working = False

    def _take(self) -> list[Offer]:
        taken: list[Offer] = []
        count = 0
        while self._offers and (not taken or count + len(self._offers[0].batch.records) <= TOGETHER_MAX):
            taken.append(self._offers.popleft())
            count += len(taken[-1].batch.records)
        self._waiting -= count
        return taken

    def _by_our_clock(self, offers: Sequence[Offer]) -> tuple[list[Offer], dict[str, NodeClock]]:
        """Their times by our clock. What was learned of the nodes' clocks holds once the offers are stored."""
        clocks: dict[str, NodeClock] = {}
        corrected: list[Offer] = []
        for offer in offers:
            node, now = offer.session.node, self._clock.now()
            clock = clocks.get(node) or self._node_clocks.get(node) or NodeClock()
            clocks[node], batch = by_our_clock(clock.told(offer.clock_error), offer.batch, now)
            corrected.append(replace(offer, batch=batch))
        return corrected, clocks

    def _forget_offers(self) -> None:
        self._offers.clear()
        self._waiting = 0

    async def _greet(self, session: AgentSession) -> None:
        node = session.node
        self._tell_too_old(node)
        try:
            known, seen = await self._database.read(
                lambda uow: (uow.spool_positions.of_node(node), uow.node_samples.clock_last_seen(node))
            )
        except StokerError:
            known, seen = [], None
        error_seconds, heard_at = session.clock_error_before_seconds, session.heard_before_at
        if error_seconds is None and seen is not None:  # we have started since
            error_seconds, heard_at = seen.error_seconds, seen.at
        error = None if error_seconds is None else timedelta(seconds=error_seconds)
        clock = self._node_clocks.get(node) or NodeClock()
        self._node_clocks[node] = clock.opened(error, heard_at, self._clock.now())
        for position in known:
            session.received(RecordsReceived(position.spool_id, position.sequence))
        if not known:
            session.received(RecordsReceived("", 0))

    async def _keep(self, offers: Sequence[Offer]) -> bool:
        """False: the database is away. What it refuses is found by halves and left out alone."""
        now, kept = self._clock.now(), self._kept()
        try:
            stored = await self._database.run_background(
                lambda uow: [store_batch(uow, offer, kept, now) for offer in offers]
            )
        except (UnavailableError, DatabaseVersionError) as error:
            if not self._away:
                self._away = True
                log.warning("records_not_stored", reason=str(error), do="nodes keep them and deliver them again")
            return False
        except StokerError as error:
            for part in parts(offers, str(error)):
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

    def _tell(self, node: str, result: Stored, now: datetime) -> None:
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
        if result.too_old:
            self.too_old_total += len(result.too_old)
            known = self._too_old.get(node) or _TooOld(result.too_old[0], result.too_old[0], 0)
            self._too_old[node] = known.and_more(result.too_old)
        if result.stored_count:
            self._tell_too_old(node)  # the oldest come first: what comes now is young enough

    def _tell_too_old(self, node: str) -> None:
        """Once for a delivery, which comes in many batches."""
        known = self._too_old.pop(node, None)
        if known is None:
            return
        text = (
            f"{known.count} records of this node, of {known.first_at:%Y-%m-%d %H:%M} to "
            f"{known.last_at:%Y-%m-%d %H:%M} UTC, came after the history of their time was given up: they are left out"
        )
        action = (
            "keep history for longer (samples_retention_hours, requests_retention_hours) if nodes are cut off for so "
            "long; if this one was not, check its clock"
        )
        event = FleetEvent(self._clock.now(), Severity.WARNING, "records_too_old", text, node=node, action=action)
        self._events.append([event])
