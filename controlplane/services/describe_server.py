"""Say what this daemon is and how it does, to the one who asks. Called by `rpc.operator_service`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.access import OperatorIdentity
from controlplane.services.watch_database import DatabaseHealth


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """What does not change while the daemon runs."""

    boot_id: str
    version: str
    leader_epoch: int
    started_at: datetime
    database: str  # "sqlite" or "postgresql"
    gateway_address: str


@dataclass(frozen=True, slots=True)
class DaemonVitals:
    """What does."""

    gateway_state: str
    database: DatabaseHealth
    fresh_seconds: float
    stale_seconds: float
    lost_seconds: float


@dataclass(frozen=True, slots=True)
class ServerDescription:
    boot_id: str
    version: str
    leader_epoch: int
    started_at: datetime
    database: str
    gateway_address: str
    gateway_state: str
    caller_name: str
    caller_role: str
    health: DatabaseHealth
    fresh_seconds: float
    stale_seconds: float
    lost_seconds: float


class DescribeServer:
    def __init__(self, facts: DaemonFacts, vitals: Callable[[], DaemonVitals]) -> None:
        self._facts = facts
        self._vitals = vitals

    def __call__(self, caller: OperatorIdentity) -> ServerDescription:
        facts, vitals = self._facts, self._vitals()
        return ServerDescription(
            boot_id=facts.boot_id,
            version=facts.version,
            leader_epoch=facts.leader_epoch,
            started_at=facts.started_at,
            database=facts.database,
            gateway_address=facts.gateway_address,
            gateway_state=vitals.gateway_state,
            caller_name=caller.name,
            caller_role=caller.role.value,
            health=vitals.database,
            fresh_seconds=vitals.fresh_seconds,
            stale_seconds=vitals.stale_seconds,
            lost_seconds=vitals.lost_seconds,
        )
