"""What can happen to the fleet's state: the only inputs of `fleet.apply`."""

from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.desired import Desired
from controlplane.fleet.hardware import DeviceHealth, MemoryLedger
from controlplane.fleet.observed import Device, EngineReport, NodeFacts
from controlplane.fleet.summaries import EngineSummary


@dataclass(frozen=True, slots=True)
class DesiredChanged:
    """Somebody changed desired state; this is all of it."""

    desired: Desired


@dataclass(frozen=True, slots=True)
class SummariesRestored:
    """What was last known of the engines before this daemon started."""

    summaries: tuple[EngineSummary, ...]


@dataclass(frozen=True, slots=True)
class SessionOpened:
    node: str
    facts: NodeFacts
    engines: tuple[EngineReport, ...]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class ReportReceived:
    node: str
    engines: tuple[EngineReport, ...]  # all of the node's engines
    received_at: datetime
    sent_at: datetime | None = None  # by the node's clock
    devices: tuple[Device, ...] | None = None  # None: as before
    health: tuple[DeviceHealth, ...] | None = None  # None: as before
    memory: tuple[MemoryLedger, ...] | None = None  # None: as before


@dataclass(frozen=True, slots=True)
class SessionClosed:
    node: str
    received_at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ClockTicked:
    """Time passed: ages are looked at again."""


Event = DesiredChanged | SummariesRestored | SessionOpened | ReportReceived | SessionClosed | ClockTicked
