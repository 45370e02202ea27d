"""What a page tells beside the fleet: gathered on the event loop, frozen, filled into the page in a thread.

Made by `bootstrap` through one function that reads the parts' own counters: nothing is counted twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controlplane.fleet.jobs import JobState
from controlplane.fleet.observed import Severity
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.runtime.request_counts import RequestCounts
from controlplane.services.describe_server import DaemonFacts


@dataclass(frozen=True, slots=True)
class WriterFigures:
    """Of rows on their way into SQL."""

    waiting_count: int
    dropped_total: int


@dataclass(frozen=True, slots=True)
class GatewayFigures:
    up: bool
    restarts_total: int


@dataclass(frozen=True, slots=True)
class SessionFigures:
    open_count: int
    opened_total: int
    reports_total: int
    commands_sent: Mapping[str, int]  # by command
    commands_ended: Mapping[str, int]  # by outcome


@dataclass(frozen=True, slots=True)
class PrefixFigures:
    engines_count: int
    chunks_count: int
    disagreeing_count: int


@dataclass(frozen=True, slots=True)
class DaemonFigures:
    facts: DaemonFacts
    now: datetime
    snapshot: FleetSnapshot
    inflight: Mapping[str, int]  # by engine
    forgotten_total: int
    requests: RequestCounts
    gateway: GatewayFigures
    sessions: SessionFigures
    prefixes: PrefixFigures
    database_up: bool
    writers: Mapping[str, WriterFigures] = field(default_factory=dict)
    events: Mapping[Severity, int] = field(default_factory=dict)
    jobs: tuple[JobState, ...] = ()
