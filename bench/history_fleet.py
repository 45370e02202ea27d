"""A fleet of 10,080 busy engines as its agents tell of it: what `bench.history_load` holds while it is measured.

1,260 nodes of eight devices with an engine each. Every report has all that a real one has of a busy engine: gauges, counters,
what the plug-in tells, two tenants' bills, the devices' health and their memory; counters grow from report to report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.desired import Deployment, Desired, DesiredState, EnrolledNode, Placement
from controlplane.fleet.events import ReportReceived, SessionOpened
from controlplane.fleet.hardware import DeviceHealth, KvHeadroom, MemoryLedger, MemoryPortion, MemoryUse
from controlplane.fleet.inside import EngineInside, InsideState, RecomputeBill, ResidencySummary, StepTotals
from controlplane.fleet.observed import (
    Ceiling,
    Device,
    EngineCounters,
    EngineGauges,
    EngineReport,
    EngineState,
    Histogram,
    NodeFacts,
    NodeLocation,
)
from controlplane.fleet.sources import Source

ENGINES_PER_NODE = 8
MODELS = 210  # of 48 engines each in the whole fleet
_GIB = 1 << 30
_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class BusyFleet:
    nodes: Sequence[str]
    models: int

    @classmethod
    def of(cls, nodes_count: int) -> "BusyFleet":
        return cls([f"gcp-us-east1-{number:04d}" for number in range(nodes_count)], min(MODELS, nodes_count))

    @property
    def engines_count(self) -> int:
        return len(self.nodes) * ENGINES_PER_NODE

    def model(self, number: int) -> str:
        """Of the engine, or the request, of that number."""
        return f"model-{number % self.models:03d}"

    def desired(self, now: datetime) -> Desired:
        deployments = [Deployment(self.model(n), self.model(n), f"/models/{n}") for n in range(self.models)]
        place = NodeLocation("gcp", "us-east1", "us-east1-b")
        placements = [
            Placement(
                self._engine_id(at, device),
                deployments[self._number(at, device) % self.models],
                node,
                1,
                DesiredState.RUNNING,
                now,
                "bench",
                (f"gpu-{device}",),
            )
            for at, node in enumerate(self.nodes)
            for device in range(ENGINES_PER_NODE)
        ]
        return Desired(
            {name: EnrolledNode(name, place, now, f"{at:032x}") for at, name in enumerate(self.nodes)},
            {deployment.name: deployment for deployment in deployments},
            {placement.placement_id: placement for placement in placements},
        )

    def sessions(self, now: datetime) -> list[SessionOpened]:
        """Every agent says hello, with its engines."""
        facts = NodeFacts("0.1.0", "b1", "linux", tuple(_device(number) for number in range(ENGINES_PER_NODE)))
        return [SessionOpened(node, facts, self._engines(at, 1, now), now) for at, node in enumerate(self.nodes)]

    def report(self, at: int, beat: int, now: datetime) -> ReportReceived:
        """The report of the node at that place; counters grow with `beat`."""
        numbers = range(ENGINES_PER_NODE)
        return ReportReceived(
            self.nodes[at],
            self._engines(at, beat, now),
            now,
            now,
            None,
            tuple(_health(number, beat, now) for number in numbers),
            tuple(_ledger(number, self._engine_id(at, number), beat, now) for number in numbers),
        )

    def _engines(self, at: int, beat: int, now: datetime) -> tuple[EngineReport, ...]:
        return tuple(self._engine(at, device, beat, now) for device in range(ENGINES_PER_NODE))

    def _number(self, at: int, device: int) -> int:
        return at * ENGINES_PER_NODE + device

    def _engine_id(self, at: int, device: int) -> str:
        return f"{self.model(self._number(at, device))}@{self.nodes[at]}.{device}"

    def _engine(self, at: int, device: int, beat: int, now: datetime) -> EngineReport:
        number = self._number(at, device)
        steps = beat * (300 + number % 100)
        latencies = Histogram(_BOUNDS, tuple(steps // 20 + bound for bound in range(11)), 0.02 * steps)
        return EngineReport(
            engine_id=self._engine_id(at, device),
            generation=1,
            instance_id=f"{number:032x}",
            model=self.model(number),
            state=EngineState.READY,
            endpoint=f"10.{at // 250}.{at % 250}.1:{8000 + device}",
            device_ids=(f"gpu-{device}",),
            engine_version="0.32.0",
            context_tokens_max=131_072,
            served_paths=("/v1/chat/completions", "/v1/completions"),
            dtype="bfloat16",
            gauges=EngineGauges(1_000_000, 400_000 + steps % 100_000, 20 + beat % 10, beat % 3),
            counters=EngineCounters(
                100 * steps,
                25 * steps,
                steps,
                125 * steps,
                100 * steps,
                40 * steps,
                steps // 50,
                steps // 8,
                2e12 * steps,
                2e10 * steps,
                latencies,
                latencies,
            ),
            measured_at=now,
            inside=EngineInside(
                InsideState.ACTIVE,
                plugin_version="0.1.0",
                steps=StepTotals(
                    steps, 60 * steps, 25 * steps, 22 * steps, steps, 2e12 * steps, 1e10 * steps, 1e9 * steps
                ),
                measured_at=now,
            ),
            recompute=(
                RecomputeBill("acme", 3 * steps, 1e10 * steps, 1e-4 * steps, Source.MEASURED),
                RecomputeBill("zeta", 2 * steps, 1e10 * steps, 1e-4 * steps, Source.MEASURED),
            ),
            residency=ResidencySummary(beat, 3_000, 60_000, number, complete=True),
        )


def _device(number: int) -> Device:
    ceilings = (Ceiling("bfloat16", 6.6e14, 2.9e12, Source.MEASURED),)
    return Device(f"gpu-{number}", "NVIDIA H100 80GB HBM3", "cuda", 80 * _GIB, "570.86", "9.0", ceilings)


def _health(number: int, beat: int, now: datetime) -> DeviceHealth:
    return DeviceHealth(
        f"gpu-{number}",
        now,
        memory_used_bytes=70 * _GIB + beat,
        temperature_celsius=60.0 + beat % 10,
        power_watts=480.0 + beat % 100,
        compute_clock_hertz=1.75e9,
    )


def _ledger(number: int, engine_id: str, beat: int, now: datetime) -> MemoryLedger:
    return MemoryLedger(
        f"gpu-{number}",
        now,
        80 * _GIB,
        (
            MemoryPortion(MemoryUse.WEIGHTS, 16 * _GIB, Source.MEASURED, engine_id),
            MemoryPortion(MemoryUse.KV_CACHE, 50 * _GIB, Source.MEASURED, engine_id),
            MemoryPortion(MemoryUse.ACTIVATIONS, 4 * _GIB + beat, Source.MEASURED, engine_id),
            MemoryPortion(MemoryUse.FREE, 10 * _GIB - beat, Source.MEASURED),
        ),
        (KvHeadroom(engine_id, 8 * _GIB, 60_000, 12.0, Source.MEASURED),),
    )
