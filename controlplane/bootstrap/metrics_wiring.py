"""The metrics' part of the composition root: which part tells which figure, and the server. Part of `bootstrap`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from controlplane.clock import Clock
from controlplane.errors import StokerError
from controlplane.exposition.daemon_figures import (
    DaemonFigures,
    GatewayFigures,
    PrefixFigures,
    SessionFigures,
    WriterFigures,
)
from controlplane.exposition.metrics_app import MetricsApp
from controlplane.exposition.metrics_server import MetricsServer, MetricsTls
from controlplane.exposition.page import MetricsPage
from controlplane.fleet.jobs import JobState
from controlplane.fleet.node_commands import ProbeCommand, ReportIntervalCommand
from controlplane.gateway.supervisor import GatewayStatus
from controlplane.policies.placement.reconcile import AdapterCommand, StartCommand, StopCommand
from controlplane.runtime.agent_sessions import AgentSessions, CommandStatus
from controlplane.runtime.engine_totals import EngineTotals
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.runtime.prefix_index import PrefixIndex
from controlplane.runtime.request_counts import RequestCounts
from controlplane.services.describe_server import DaemonFacts
from controlplane.settings.model import MetricsSettings
from controlplane.storage.batch_writer import BatchWriter

log = structlog.get_logger(__name__)

_COMMANDS: dict[type[Any], str] = {
    StartCommand: "start",
    StopCommand: "stop",
    AdapterCommand: "adapter",
    ProbeCommand: "probe",
    ReportIntervalCommand: "report_interval",
}


@dataclass(frozen=True, slots=True)
class MetricsSources:
    """Whose figures the page shows."""

    facts: DaemonFacts
    store: FleetStore
    inflight: Inflight
    requests: RequestCounts
    gateway: Callable[[], GatewayStatus]
    sessions: AgentSessions
    reports_total: Callable[[], int]
    prefixes: PrefixIndex
    events: EventLog
    database_up: Callable[[], bool]
    writers: Sequence[BatchWriter[Any]]
    jobs: Callable[[], tuple[JobState, ...]]
    clock: Clock


class Metrics:
    """Nothing listens before `start`."""

    def __init__(self, settings: MetricsSettings, sources: MetricsSources) -> None:
        self._settings = settings
        self.sources = sources
        self._server: MetricsServer | None = None
        self.totals = EngineTotals()
        if settings.enabled:
            sources.store.subscribe(self.totals.on_change)

    @property
    def address(self) -> str:
        """The URL that Prometheus scrapes, without its path; "" while there is none."""
        return "" if self._server is None else self._server.address

    def start(self) -> MetricsServer | None:
        """The server, bound and to be run. A default port that is taken is logged; one that was set raises StokerError."""
        settings = self._settings
        if not settings.enabled:
            return None
        page = MetricsPage(self._gather, self.totals, tenants=settings.tenants)
        tls = None
        if settings.tls_certificate_file and settings.tls_key_file and settings.client_ca_file:
            tls = MetricsTls(settings.tls_certificate_file, settings.tls_key_file, settings.client_ca_file)
        server = MetricsServer(MetricsApp(page.make), settings.host, settings.port, tls)
        try:
            server.bind()
        except StokerError as error:
            if {"host", "port"} & settings.model_fields_set or tls is not None:
                raise
            log.warning("metrics_not_served", error=str(error))
            return None
        self._server = server
        return server

    def _gather(self) -> DaemonFigures:
        """On the event loop: copies, no sums over engines."""
        sources = self.sources
        sessions, envoy = sources.sessions, sources.gateway()
        sent = {name: sessions.sent_totals[kind] for kind, name in _COMMANDS.items()}
        ended = {status.value: sessions.ended_totals[status] for status in CommandStatus if status.final}
        return DaemonFigures(
            facts=sources.facts,
            now=sources.clock.now(),
            snapshot=sources.store.snapshot,
            inflight=sources.inflight.by_engine(),
            forgotten_total=sources.inflight.forgotten_total,
            requests=sources.requests.copy(),
            gateway=GatewayFigures(envoy.pid is not None, envoy.restart_count),
            sessions=SessionFigures(sessions.open_count, sessions.opened_total, sources.reports_total(), sent, ended),
            prefixes=PrefixFigures(*sources.prefixes.totals()),
            database_up=sources.database_up(),
            writers={
                writer.what: WriterFigures(writer.waiting_count, writer.dropped_total) for writer in sources.writers
            },
            events=dict(sources.events.totals),
            jobs=sources.jobs(),
        )
