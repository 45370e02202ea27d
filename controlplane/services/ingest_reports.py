"""Take in what agents say: sessions open, report and close; commands end; nodes tell of events.

Called by `rpc.agent_service`. Turns each into an event for the fleet store or a line in the event log; decides nothing.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from controlplane.clock import Clock
from controlplane.fleet.events import ReportReceived, SessionClosed, SessionOpened
from controlplane.fleet.hardware import DeviceHealth, MemoryLedger
from controlplane.fleet.history import AuditEntry, FleetEvent
from controlplane.fleet.observed import Device, EngineReport, NodeFacts, Severity
from controlplane.runtime.agent_sessions import AgentSession, AgentSessions, Outcome
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight


class IngestReports:
    def __init__(
        self,
        store: FleetStore,
        sessions: AgentSessions,
        inflight: Inflight,
        events: EventLog,
        audit: Callable[[Sequence[AuditEntry]], None],
        clock: Clock,
    ) -> None:
        """`audit` takes the outcomes of commands and must not wait."""
        self._store = store
        self._sessions = sessions
        self._inflight = inflight
        self._events = events
        self._audit = audit
        self._clock = clock
        self.reports_total = 0

    def opened(self, session: AgentSession, facts: NodeFacts, engines: tuple[EngineReport, ...]) -> None:
        """The agent has said hello on this session."""
        known = self._store.snapshot.nodes.get(session.node)
        if known is not None:
            session.heard_before_at = known.last_report_at
            session.clock_error_before_seconds = known.clock_error_seconds
        self._sessions.greeted(session.node, facts.boot_id)
        self._store.post(SessionOpened(session.node, facts, engines, self._clock.now()))

    def reported(
        self,
        session: AgentSession,
        engines: tuple[EngineReport, ...],
        sent_at: datetime | None,
        devices: tuple[Device, ...] | None,
        health: tuple[DeviceHealth, ...] | None = None,
        memory: tuple[MemoryLedger, ...] | None = None,
    ) -> None:
        """The agent's report. Of the hardware it tells only what is new: None is as before."""
        self.reports_total += 1
        if sent_at is not None:
            session.clock_error_seconds = (sent_at - self._clock.now()).total_seconds()
        for engine in engines:
            self._inflight.reported(engine.engine_id)
        self._store.post(ReportReceived(session.node, engines, self._clock.now(), sent_at, devices, health, memory))

    def command_ended(self, session: AgentSession, outcome: Outcome) -> None:
        """The agent told how a command went; told again, it is acknowledged again and otherwise ignored."""
        if not outcome.status.final:
            return
        session.acknowledge(outcome)
        if not self._sessions.ended(session.node, outcome):
            return
        engine_id = outcome.command_id.split("/", 1)[0]
        good = outcome.status.value == "succeeded"
        actor, now = f"agent:{session.node}", self._clock.now()
        how = outcome.status.value + (f": {outcome.message}" if outcome.message else "")
        target = engine_id or session.node
        self._audit([AuditEntry(now, actor, "command_ended", target, f"command {outcome.command_id}", how)])
        self._events.append(
            [
                FleetEvent(
                    now,
                    Severity.INFO if good else Severity.ERROR,
                    f"command_{outcome.status.value}",
                    f"command {outcome.command_id} {how}",
                    node=session.node,
                    engine_id=engine_id,
                    actor=actor,
                )
            ]
        )

    def told(self, event: FleetEvent) -> None:
        """The agent tells of something worth an operator's eye."""
        self._events.append([event])

    def closed(self, session: AgentSession, reason: str) -> None:
        if self._sessions.close(session):
            self._store.post(SessionClosed(session.node, self._clock.now(), reason))
