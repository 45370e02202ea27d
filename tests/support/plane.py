"""A control plane without its network: real store, database, sessions and services, wired as the daemon wires them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.fleet.access import OperatorIdentity, Role
from controlplane.fleet.desired import Desired, EnrolledNode, Placement
from controlplane.fleet.endpoints import PublishedFleet
from controlplane.fleet.events import DesiredChanged
from controlplane.fleet.history import AuditEntry, FleetEvent
from controlplane.fleet.observed import EngineReport, NodeFacts
from controlplane.runtime.agent_sessions import AgentSession, AgentSessions
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.runtime.tasks import TaskScope
from controlplane.services.desired_state import DesiredState
from controlplane.services.forget_node import ForgetNode
from controlplane.services.forget_placements import ForgetPlacements
from controlplane.services.ingest_reports import IngestReports
from controlplane.services.place_model import PlaceModel
from controlplane.services.publish_endpoints import PublishEndpoints
from controlplane.services.query_history import QueryHistory
from controlplane.services.reconcile_fleet import ReconcileFleet
from controlplane.services.record_history import HistorySinks, RecordHistory
from controlplane.services.restore_fleet import restore_fleet
from controlplane.services.stop_placement import StopPlacement
from controlplane.services.watch_fleet import WatchFleet
from controlplane.storage import migrate
from controlplane.storage.database import Database
from controlplane.storage.row_writers import HistoryWriters
from controlplane.storage.unit_of_work import UnitOfWork
from tests.support.clock import SettableClock
from tests.support.fleet import THRESHOLDS

ANN = OperatorIdentity("ann", Role.OPERATOR, "ipv4:10.0.0.9:5000")
DRAIN_SECONDS_MAX = 600.0
SAMPLE_SECONDS = 10.0


@dataclass
class Plane:
    database: Database
    clock: SettableClock
    store: FleetStore
    tasks: TaskScope
    rows: HistoryWriters
    events: EventLog
    published: list[PublishedFleet] = field(default_factory=list)
    sessions: AgentSessions = field(default_factory=AgentSessions)
    inflight: Inflight = field(default_factory=Inflight)

    def __post_init__(self) -> None:
        self.desired = DesiredState(self.database, self.store)
        rows = self.rows
        sinks = HistorySinks(rows.samples.add, rows.devices.add, rows.nodes.add, rows.bills.add, rows.summaries.add)
        self.history = RecordHistory(self.store, self.inflight, self.clock, sinks, lambda: SAMPLE_SECONDS)
        self.reconcile = ReconcileFleet(
            self.sessions,
            self.events,
            self.clock,
            lambda: DRAIN_SECONDS_MAX,
            ForgetPlacements(self.desired, self.tasks),
        )
        self.ingest = IngestReports(
            self.store, self.sessions, self.inflight, self.events, self.rows.audit.add, self.clock
        )
        self.place = PlaceModel(self.desired, self.store, self.events, self.clock)
        self.stop = StopPlacement(
            self.desired, self.store, self.inflight, self.events, self.clock, lambda: DRAIN_SECONDS_MAX
        )
        self.forget = ForgetNode(self.desired, self.store, self.sessions, self.events, self.clock)
        self.query = QueryHistory(self.database)
        self.store.subscribe(lambda _before, _after, notables: self.events.append(notables))
        self.store.subscribe(PublishEndpoints(self._publish, frozenset).on_change)
        self.store.subscribe(self.history.on_change)
        self.store.subscribe(self.reconcile.on_change)
        self.watch = WatchFleet("boot-1", self.store, self.events)

    def _publish(self, fleet: PublishedFleet) -> bool:
        self.published.append(fleet)
        return True

    async def enrol(self, *nodes: EnrolledNode, placements: tuple[Placement, ...] = ()) -> None:
        """Write them where the daemon finds them, and have them in force."""

        def put(uow: UnitOfWork) -> None:
            for node in nodes:
                uow.nodes.put(node)
            for placement in placements:
                uow.placements.put(placement)

        await self.database.run(put)
        await self.desired.refresh()

    def connect(
        self, node: str, *engines: EngineReport, boot_id: str = "b1", capabilities: tuple[str, ...] = ()
    ) -> AgentSession:
        """The node's agent opens a session and says hello."""
        session = self.sessions.open(node)
        facts = NodeFacts(agent_version="0.1.0", boot_id=boot_id, capabilities=capabilities)
        self.ingest.opened(session, facts, engines)
        self.store.apply_now()
        return session

    def report(self, session: AgentSession, *engines: EngineReport) -> None:
        self.ingest.reported(session, engines, self.clock.now(), None)
        self.store.apply_now()

    def wanted(self) -> Desired:
        return self.store.snapshot.desired

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events.recent()]

    async def audit(self) -> list[AuditEntry]:
        return await self.database.run(lambda uow: uow.audit.list())

    async def written(self) -> None:
        """Everything that was to go into SQL is there."""
        for writer in self.rows.all:
            assert await writer.flush()


@asynccontextmanager
async def plane(directory: Path, clock: SettableClock | None = None) -> AsyncIterator[Plane]:
    """A control plane on a SQLite file in `directory`; opened again there, it remembers."""
    url = f"sqlite:///{directory / 'stoker.db'}"
    migrate.upgrade(url)
    clock = clock or SettableClock()
    database = Database.open(url)
    tasks = TaskScope()
    try:
        remembered = await restore_fleet(database, clock.now())
        rows = HistoryWriters.of(database, clock)
        made = Plane(
            database,
            clock,
            FleetStore(clock, THRESHOLDS),
            tasks,
            rows,
            EventLog(remembered.events, remembered.last_event_id, rows.events.add),
        )
        made.store.apply_now(DesiredChanged(remembered.desired))
        yield made
    finally:
        await tasks.close()
        await database.close()


def told(events: tuple[FleetEvent, ...]) -> list[str]:
    return [event.kind for event in events]
