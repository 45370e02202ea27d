"""Everything that operators can ask for, in one value. Made by bootstrap, read by the operators' service."""

from dataclasses import dataclass

from controlplane.services.change_adapters import ChangeAdapters
from controlplane.services.create_join_token import CreateJoinToken
from controlplane.services.create_key import CreateKey
from controlplane.services.create_operator import CreateOperator
from controlplane.services.describe_server import DescribeServer
from controlplane.services.forget_node import ForgetNode
from controlplane.services.keep_leases import KeepLeases
from controlplane.services.list_audit import ListAudit
from controlplane.services.list_jobs import ListJobs
from controlplane.services.list_keys import ListKeys
from controlplane.services.place_model import PlaceModel
from controlplane.services.probe_node import ProbeNode
from controlplane.services.query_history import QueryHistory
from controlplane.services.read_engine_log import ReadEngineLog
from controlplane.services.recall_fleet import RecallFleet
from controlplane.services.restart_engine import RestartEngine
from controlplane.services.revoke_key import RevokeKey
from controlplane.services.run_sql import RunSql
from controlplane.services.set_report_interval import SetReportInterval
from controlplane.services.stop_placement import StopPlacement
from controlplane.services.verify_audit import VerifyAudit
from controlplane.services.watch_fleet import WatchFleet


@dataclass(frozen=True, slots=True)
class OperatorUseCases:
    """Everything that operators can ask for."""

    watch: WatchFleet
    history: QueryHistory
    sql: RunSql
    server: DescribeServer
    place: PlaceModel
    stop: StopPlacement
    restart: RestartEngine
    adapters: ChangeAdapters
    probe: ProbeNode
    report_interval: SetReportInterval
    engine_log: ReadEngineLog
    forget: ForgetNode
    leases: KeepLeases
    recall: RecallFleet
    list_jobs: ListJobs
    list_audit: ListAudit
    verify_audit: VerifyAudit
    create_key: CreateKey
    list_keys: ListKeys
    revoke_key: RevokeKey
    create_join_token: CreateJoinToken
    create_operator: CreateOperator
    ca_pem: bytes  # what a new operator trusts
