"""The fleet at one moment: desired and observed state in one frozen value.

Made only by `fleet.apply`, held by `runtime.fleet_store`, read by everything that decides. A snapshot is never changed: a
reader keeps the one it took, and values that did not change are the same objects from one snapshot to the next (that is what
`fleet.diff` relies on).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from controlplane.fleet.desired import Desired, DesiredState, Placement
from controlplane.fleet.hardware import DeviceHealth, MemoryLedger
from controlplane.fleet.inside import StepTotals
from controlplane.fleet.observed import EngineCounters, EngineReport, NodeFacts, Trust, WorkingPoint

WRITTEN_OFF_LEASES = 10.0


@dataclass(frozen=True, slots=True)
class TrustThresholds:
    """From what age on a node's reports count for less. Seconds."""

    fresh_seconds: float = 3.0
    stale_seconds: float = 15.0
    lost_seconds: float = 60.0

    def lost(self, age: timedelta) -> bool:
        return age.total_seconds() > self.lost_seconds

    def written_off(self, age: timedelta) -> bool:
        return age.total_seconds() > WRITTEN_OFF_LEASES * self.lost_seconds

    def trust(self, age: timedelta) -> Trust:
        seconds = age.total_seconds()
        if seconds <= self.fresh_seconds:
            return Trust.FRESH
        return Trust.AGEING if seconds <= self.stale_seconds else Trust.STALE


@dataclass(frozen=True, slots=True)
class NodeObserved:
    name: str
    facts: NodeFacts = field(default_factory=NodeFacts)
    connected: bool = False
    trust: Trust = Trust.STALE
    lost: bool = False  # silent for longer than the lease
    written_off: bool = False  # lost for so long that its silence tells nothing of our own network any more
    last_report_at: datetime | None = None  # by our clock; None: never since we started
    clock_error_seconds: float | None = None  # its clock minus ours, transit included
    heard_since_boot: bool = False  # False: what we show was restored from SQL
    health: tuple[DeviceHealth, ...] = ()  # the latest reading of each device that tells
    memory: tuple[MemoryLedger, ...] = ()  # likewise


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of an engine's counters, by the node's clock."""

    measured_at: datetime
    counters: EngineCounters
    steps: StepTotals | None = None  # from inside the engine, when the plug-in speaks
    steps_at: datetime | None = None  # when they were read


@dataclass(frozen=True, slots=True)
class EngineObserved:
    report: EngineReport
    node: str
    received_at: datetime  # by our clock
    working_point: WorkingPoint | None = None
    readings: tuple[Reading, ...] = ()  # of this instance, oldest first, one window's worth
    restored: bool = False  # from SQL, not yet heard since we started

    @property
    def engine_id(self) -> str:
        return self.report.engine_id


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    version: int
    at: datetime
    desired: Desired = field(default_factory=Desired)
    nodes: Mapping[str, NodeObserved] = field(default_factory=dict)
    engines: Mapping[str, EngineObserved] = field(default_factory=dict)
    engines_by_model: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    suspect: bool = False  # most nodes fell silent at once: suspect ourselves, remove nothing (see fleet.brake)

    def placement(self, engine_id: str) -> Placement | None:
        return self.desired.placements.get(engine_id)

    def models(self) -> frozenset[str]:
        """Every model that somebody placed, whether or not an engine of it is up."""
        return frozenset(
            placement.deployment.model
            for placement in self.desired.placements.values()
            if placement.desired is not DesiredState.REMOVED
        )
