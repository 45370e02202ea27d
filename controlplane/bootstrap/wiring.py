"""Makes the daemon's parts and ties them together. Part of `bootstrap`; starts nothing, listens nowhere."""

import random
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from controlplane import __version__
from controlplane.bootstrap.gateway_wiring import Gateway, gateway_of
from controlplane.bootstrap.history_wiring import history_sinks, kept
from controlplane.bootstrap.live_settings import LiveSettings
from controlplane.bootstrap.metrics_wiring import Metrics, MetricsSources
from controlplane.clock import Clock
from controlplane.fleet.desired import Desired
from controlplane.fleet.events import DesiredChanged, SummariesRestored
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.snapshot import TrustThresholds
from controlplane.identity.api_keys import ApiKeySigner
from controlplane.identity.authority import Authority
from controlplane.identity.layout import DataLayout
from controlplane.jobs.remind_of_leases import Reminders
from controlplane.jobs.scheduler import Jobs
from controlplane.rpc.agent_service import AgentService, SessionTerms
from controlplane.rpc.callers import OperatorCalls
from controlplane.rpc.enrolment_service import EnrolmentService
from controlplane.rpc.operator_service import OperatorService
from controlplane.rpc.operator_use_cases import OperatorUseCases
from controlplane.rpc.server import RpcServer, enrolment_server, main_server
from controlplane.rpc.watch_codec import WatchCodec
from controlplane.runtime.agent_sessions import AgentSessions
from controlplane.runtime.event_log import EventLog
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.runtime.log_requests import LogRequests
from controlplane.runtime.prefix_index import PrefixIndex
from controlplane.runtime.request_counts import RequestCounts
from controlplane.runtime.tasks import TaskScope
from controlplane.services.admit_simulated import AdmitSimulated
from controlplane.services.change_adapters import ChangeAdapters
from controlplane.services.check_operator import CheckOperator
from controlplane.services.count_admission import CountAdmission
from controlplane.services.create_join_token import CreateJoinToken
from controlplane.services.create_key import CreateKey
from controlplane.services.create_operator import CreateOperator
from controlplane.services.decide_request import DecideRequest
from controlplane.services.describe_server import DaemonFacts, DaemonVitals, DescribeServer
from controlplane.services.desired_state import DesiredState
from controlplane.services.enrol_node import EnrolNode
from controlplane.services.finish_request import FinishRequest
from controlplane.services.forget_node import ForgetNode
from controlplane.services.forget_placements import ForgetPlacements
from controlplane.services.ingest_records import IngestRecords
from controlplane.services.ingest_reports import IngestReports
from controlplane.services.ingest_residency import IngestResidency
from controlplane.services.keep_leases import KeepLeases
from controlplane.services.list_audit import ListAudit
from controlplane.services.list_jobs import ListJobs
from controlplane.services.list_keys import ListKeys
from controlplane.services.place_model import PlaceModel
from controlplane.services.probe_node import ProbeNode
from controlplane.services.publish_endpoints import PublishEndpoints
from controlplane.services.query_history import QueryHistory
from controlplane.services.read_engine_log import ReadEngineLog
from controlplane.services.recall_fleet import RecallFleet
from controlplane.services.reconcile_fleet import ReconcileFleet
from controlplane.services.record_history import RecordHistory
from controlplane.services.renew_certificate import RenewCertificate
from controlplane.services.restart_engine import RestartEngine
from controlplane.services.restore_fleet import Remembered
from controlplane.services.revoke_key import RevokeKey
from controlplane.services.run_sql import RunSql
from controlplane.services.send_to_node import SendToNode
from controlplane.services.set_report_interval import SetReportInterval
from controlplane.services.stop_placement import StopPlacement
from controlplane.services.verify_audit import VerifyAudit
from controlplane.services.watch_database import WatchDatabase
from controlplane.services.watch_fleet import WatchFleet
from controlplane.storage.asking.asker import SqlAsker
from controlplane.storage.batch_writer import BatchWriter
from controlplane.storage.database import Database
from controlplane.storage.row_writers import HistoryWriters


@dataclass(frozen=True, slots=True)
class Parts:
    """What the daemon starts and stops."""

    store: FleetStore
    prefixes: PrefixIndex
    watch: WatchFleet
    database_watch: WatchDatabase
    history: RecordHistory
    admission: CountAdmission
    desired: DesiredState
    reminders: Reminders
    writers: tuple[BatchWriter[Any], ...]
    gateway: Gateway
    main: RpcServer
    enrolment: RpcServer
    authority: Authority
    hosts: tuple[str, ...]
    jobs: Jobs
    tell: Callable[[Iterable[FleetEvent]], None]  # into the event log
    metrics: Metrics


def wire(
    live: LiveSettings, database: Database, remembered: Remembered, leader_epoch: int, tasks: TaskScope, clock: Clock
) -> Parts:
    """All parts of one daemon. Raises ConfigurationError or DataDirectoryError when settings or identity are no good."""
    settings, now, boot_id = live.now, clock.now(), uuid.uuid4().hex
    layout = DataLayout(settings.data_dir)
    authority, signer = Authority.load(layout.identity), ApiKeySigner.load(layout.api_keys)

    rows = HistoryWriters.of(database, clock, settings.history.flush_seconds, settings.history.buffer_max)
    events = EventLog(remembered.events, remembered.last_event_id, rows.events.add)
    jobs = Jobs(clock, events.append, rows.jobs.add)
    database_watch = WatchDatabase(database, rows.but_events, rows.events, events.append, clock)
    fleet = settings.fleet
    store = FleetStore(clock, TrustThresholds(fleet.fresh_seconds, fleet.stale_seconds, fleet.lost_seconds))
    sessions, inflight, prefixes, counts = AgentSessions(), Inflight(), PrefixIndex(), RequestCounts()
    residency = IngestResidency(prefixes, store, clock)
    revoked = set(remembered.revoked_key_ids)
    desired = DesiredState(database, store)

    admission = CountAdmission(boot_id, clock, rows.admission.add)
    decide = DecideRequest(store, inflight, clock, random.random, lambda: revoked, counts, admission)
    finish = FinishRequest(store, inflight, counts, admission)
    gateway = gateway_of(settings, authority, signer, decide, finish, clock, now)
    history = RecordHistory(
        store, inflight, clock, history_sinks(rows), lambda: live.now.history.sample_interval_seconds
    )
    reconcile = ReconcileFleet(
        sessions, events, clock, lambda: live.now.gateway.drain_seconds_max, ForgetPlacements(desired, tasks)
    )
    store.subscribe(lambda _before, _after, notables: events.append(notables))
    publish = PublishEndpoints(gateway.publish, lambda: revoked)
    store.subscribe(publish.on_change)
    store.subscribe(history.on_change)
    store.subscribe(finish.on_change)
    store.subscribe(reconcile.on_change)
    store.subscribe(residency.on_change)
    watch = WatchFleet(boot_id, store, events, lambda: (gateway.state, database_watch.seen()))

    def on_desired(changed: Desired) -> None:
        store.apply_now(DesiredChanged(changed))

    def on_revoked(key_id: str) -> None:
        revoked.add(key_id)
        publish.refresh(store.snapshot)

    def terms() -> SessionTerms:
        fleet = live.now.fleet
        return SessionTerms(leader_epoch, fleet.report_interval_seconds, fleet.lost_seconds)

    def vitals() -> DaemonVitals:
        fleet = live.now.fleet
        return DaemonVitals(
            gateway.state,
            database_watch.health(),
            fleet.fresh_seconds,
            fleet.stale_seconds,
            fleet.lost_seconds,
        )

    facts = DaemonFacts(boot_id, __version__, leader_epoch, now, database.kind, gateway.address)
    node_lifetime = lambda: live.now.fleet.node_certificate_lifetime_seconds  # noqa: E731 - used twice, reads live
    enrol = EnrolNode(database, authority, clock, node_lifetime, on_desired)
    renew = RenewCertificate(database, authority, clock, node_lifetime, on_desired)
    logs, send = LogRequests(), SendToNode(sessions, database, events, clock)
    leases = KeepLeases(database, events, clock)
    use_cases = OperatorUseCases(
        watch=watch,
        history=QueryHistory(database),
        sql=RunSql(SqlAsker(settings.database_url)),
        server=DescribeServer(facts, vitals),
        place=PlaceModel(desired, store, events, clock),
        stop=StopPlacement(desired, store, inflight, events, clock, lambda: live.now.gateway.drain_seconds_max),
        restart=RestartEngine(desired, store, events, clock),
        adapters=ChangeAdapters(desired, store, events, clock),
        probe=ProbeNode(sessions, store, send),
        report_interval=SetReportInterval(sessions, store, send),
        engine_log=ReadEngineLog(sessions, store, logs),
        forget=ForgetNode(desired, store, sessions, events, clock),
        leases=leases,
        recall=RecallFleet(database, clock),
        list_jobs=ListJobs(jobs.states),
        list_audit=ListAudit(database),
        verify_audit=VerifyAudit(database, authority),
        create_key=CreateKey(database, signer, clock),
        list_keys=ListKeys(database),
        revoke_key=RevokeKey(database, clock, on_revoked),
        create_join_token=CreateJoinToken(
            database, authority, clock, lambda: live.now.fleet.join_token_lifetime_seconds
        ),
        create_operator=CreateOperator(
            database, authority, clock, lambda: live.now.fleet.operator_certificate_lifetime_seconds
        ),
        ca_pem=authority.ca_pem,
    )
    ingest = IngestReports(store, sessions, inflight, events, rows.audit.add, clock)
    admit = AdmitSimulated(desired, lambda: store.snapshot.desired, clock)
    records = IngestRecords(store, events, database, tasks, clock, lambda: kept(live.now.history))
    agents = AgentService(
        sessions, ingest, records, residency, lambda: store.snapshot, terms, renew, admit, logs, tasks, clock
    )
    calls = OperatorCalls(CheckOperator(database, clock, remembered.operator_serials))
    operators = OperatorService(use_cases, calls, WatchCodec(boot_id, inflight, prefixes.held, clock), clock)

    hosts = settings.server.hosts
    own = authority.server_credentials(hosts, now)
    read_pem = lambda: (own.key.read_bytes(), own.certificate.read_bytes())  # noqa: E731 - used twice
    host = settings.server.host
    main = main_server(host, settings.server.port, authority.ca_pem, read_pem, agents, operators)
    enrolment = enrolment_server(
        host, settings.server.enrolment_port, read_pem, EnrolmentService(enrol, sessions.forget)
    )
    store.apply_now(DesiredChanged(remembered.desired), SummariesRestored(remembered.summaries))
    metrics = Metrics(
        settings.metrics,
        MetricsSources(
            facts=facts,
            store=store,
            inflight=inflight,
            requests=counts,
            gateway=lambda: gateway.envoy.status,
            sessions=sessions,
            reports_total=lambda: ingest.reports_total,
            prefixes=prefixes,
            events=events,
            database_up=lambda: database_watch.health().away_since is None,
            writers=rows.all,
            jobs=jobs.states,
            clock=clock,
        ),
    )
    reminders = Reminders(leases)
    return Parts(
        store,
        prefixes,
        watch,
        database_watch,
        history,
        admission,
        desired,
        reminders,
        rows.all,
        gateway,
        main,
        enrolment,
        authority,
        hosts,
        jobs,
        events.append,
        metrics,
    )
