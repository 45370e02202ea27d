"""Facts of a small fleet, with as little to say as possible: nodes, placements, what engines report."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from controlplane.fleet.apply import apply
from controlplane.fleet.desired import Deployment, Desired, DesiredState, EnrolledNode, Placement
from controlplane.fleet.events import ClockTicked, DesiredChanged, Event, ReportReceived, SessionOpened
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import (
    EngineCounters,
    EngineGauges,
    EngineReport,
    EngineState,
    NodeFacts,
    NodeLocation,
)
from controlplane.fleet.snapshot import FleetSnapshot, TrustThresholds
from tests.support.clock import START

THRESHOLDS = TrustThresholds(fresh_seconds=3.0, stale_seconds=15.0, lost_seconds=60.0)
LLAMA = Deployment("llama", "llama", "/models/llama")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def enrolled(name: str = "gcp-1", **changes: Any) -> EnrolledNode:
    provider = name.split("-", maxsplit=1)[0]
    fields: dict[str, Any] = {
        "name": name,
        "location": NodeLocation(provider, f"{provider}-west"),
        "enrolled_at": START,
        "identity_serial": "0" * 32,
    }
    return EnrolledNode(**{**fields, **changes})


def placed(placement_id: str = "llama@gcp-1", **changes: Any) -> Placement:
    fields: dict[str, Any] = {
        "placement_id": placement_id,
        "deployment": LLAMA,
        "node": placement_id.rsplit("@", maxsplit=1)[1].split(".", maxsplit=1)[0],
        "generation": 1,
        "desired": DesiredState.RUNNING,
        "created_at": START,
        "created_by": "ann",
    }
    return Placement(**{**fields, **changes})


def desired(nodes: Iterable[EnrolledNode] = (), placements: Iterable[Placement] = ()) -> Desired:
    placements = tuple(placements)
    return Desired(
        nodes={node.name: node for node in nodes},
        deployments={item.deployment.name: item.deployment for item in placements},
        placements={item.placement_id: item for item in placements},
    )


def counted(tokens: int) -> EngineCounters:
    """Counters of an engine that has made so many tokens, one a step."""
    return EngineCounters(
        prompt_tokens=2 * tokens, generation_tokens=tokens, steps=tokens, step_tokens=3 * tokens, flops=10.0 * tokens
    )


def reported(engine_id: str = "llama@gcp-1", seconds: float | None = None, **changes: Any) -> EngineReport:
    """What an agent tells of a ready engine; `seconds` after START by its clock."""
    fields: dict[str, Any] = {
        "engine_id": engine_id,
        "generation": 1,
        "instance_id": "i1",
        "model": "llama",
        "state": EngineState.READY,
        "endpoint": "10.0.0.1:8000",
        "served_paths": ("/v1/chat/completions", "/v1/completions"),
        "gauges": EngineGauges(kv_capacity_tokens=1000, kv_used_tokens=100, running=1, waiting=0),
        "measured_at": None if seconds is None else at(seconds),
    }
    return EngineReport(**{**fields, **changes})


def opened(node: str, seconds: float, *engines: EngineReport, boot_id: str = "b1") -> SessionOpened:
    return SessionOpened(node, NodeFacts(agent_version="0.1.0", boot_id=boot_id), engines, at(seconds))


def report(node: str, seconds: float, *engines: EngineReport) -> ReportReceived:
    return ReportReceived(node, engines, at(seconds), sent_at=at(seconds))


class Timeline:
    """A fleet's state as it unfolds: each step applies events at a moment and keeps what was told."""

    def __init__(self, wanted: Desired, thresholds: TrustThresholds = THRESHOLDS) -> None:
        self.thresholds = thresholds
        self.snapshot = FleetSnapshot(version=0, at=START)
        self.told: list[FleetEvent] = []
        self.step(0, DesiredChanged(wanted))

    def step(self, seconds: float, *events: Event) -> FleetSnapshot:
        """Apply the events (none: only time passes) as of `seconds` after START."""
        self.snapshot, told = apply(self.snapshot, events or (ClockTicked(),), at(seconds), self.thresholds)
        self.told.extend(told)
        return self.snapshot

    def kinds(self) -> list[str]:
        """The kinds of what was told since the last call."""
        kinds = [event.kind for event in self.told]
        self.told.clear()
        return kinds
