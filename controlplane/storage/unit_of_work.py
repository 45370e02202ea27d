"""One transaction, and the repositories that speak through it.

Made by `Database.run`, handed to a service's function, gone when that returns. It never commits by itself.
"""

from sqlalchemy import Connection

from controlplane.fleet.desired import Desired
from controlplane.storage.repositories.admission_counts import AdmissionCounts
from controlplane.storage.repositories.audit import AuditEntries
from controlplane.storage.repositories.audit_seals import AuditSeals
from controlplane.storage.repositories.deployments import Deployments
from controlplane.storage.repositories.engine_summaries import EngineSummaries
from controlplane.storage.repositories.events import Events
from controlplane.storage.repositories.fleet_samples import DeviceSamples, NodeSamples, RecomputeSamples
from controlplane.storage.repositories.job_runs import JobRuns
from controlplane.storage.repositories.keys import ApiKeys
from controlplane.storage.repositories.leadership import Leadership
from controlplane.storage.repositories.leases import Leases, Tenants
from controlplane.storage.repositories.nodes import Nodes
from controlplane.storage.repositories.operators import Operators
from controlplane.storage.repositories.past import Past
from controlplane.storage.repositories.placements import Placements
from controlplane.storage.repositories.policies import Policies, Schedules
from controlplane.storage.repositories.request_records import RequestRecords, SpoolPositions
from controlplane.storage.repositories.retention import Retention
from controlplane.storage.repositories.rollups import Rollups
from controlplane.storage.repositories.samples import Samples
from controlplane.storage.repositories.tokens import JoinTokens


class UnitOfWork:
    """All repositories on one connection. Use it only inside the function that it was given to."""

    def __init__(self, connection: Connection) -> None:
        self.nodes = Nodes(connection)
        self.deployments = Deployments(connection)
        self.placements = Placements(connection)
        self.events = Events(connection)
        self.audit = AuditEntries(connection)
        self.audit_seals = AuditSeals(connection)
        self.job_runs = JobRuns(connection)
        self.samples = Samples(connection)
        self.device_samples = DeviceSamples(connection)
        self.node_samples = NodeSamples(connection)
        self.recompute_samples = RecomputeSamples(connection)
        self.admission_counts = AdmissionCounts(connection)
        self.retention = Retention(connection)
        self.rollups = Rollups(connection)
        self.request_records = RequestRecords(connection)
        self.spool_positions = SpoolPositions(connection)
        self.keys = ApiKeys(connection)
        self.tokens = JoinTokens(connection)
        self.engine_summaries = EngineSummaries(connection)
        self.leadership = Leadership(connection)
        self.leases = Leases(connection)
        self.tenants = Tenants(connection)
        self.past = Past(connection)
        self.policies = Policies(connection)
        self.schedules = Schedules(connection)
        self.operators = Operators(connection)


def load_desired(uow: UnitOfWork) -> Desired:
    """All desired state at one moment."""
    return Desired(
        nodes={node.name: node for node in uow.nodes.all()},
        deployments={deployment.name: deployment for deployment in uow.deployments.all()},
        placements={placement.placement_id: placement for placement in uow.placements.all()},
    )
