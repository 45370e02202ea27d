"""From a scenario to its nodes: devices, engines that run from the start, traffic and faults for each.

Called by `running`. Seeded: the same scenario, number of nodes and seed make the same fleet, which then gets the same
requests at the same seconds.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from controlplane.simulation.catalogue import DEVICES, KnownDevice
from controlplane.simulation.engine_model import EngineModel
from node_agent.engines.simulated import with_arguments
from node_agent.errors import EngineSpecError
from node_agent.session.facts import Ceiling, Device, EngineSpec
from node_agent.session.values import Source
from node_agent.simulation.faults import faults_of
from node_agent.simulation.node import NodeKind, NodePlace, SimulatedNode
from node_agent.simulation.scenario import NodeGroup, Scenario, Traffic
from node_agent.simulation.traces import TracedRequest, load_trace
from node_agent.simulation.traffic import EngineTraffic, Share


@dataclass(slots=True)
class SimulatedFleet:
    scenario: Scenario
    seed: int
    began: datetime  # second 0 of the simulation, on the wall clock
    began_seconds: float  # likewise, on the clock that never jumps
    prefix: str  # of the nodes' names: the simulator's own
    traces: dict[str, tuple[TracedRequest, ...]] = field(default_factory=dict)
    speed: float = 1.0
    with_traffic: bool = True  # False: requests come from outside, and KV blocks are published
    nodes: list[SimulatedNode] = field(default_factory=list)
    _shares: dict[str, Share] = field(default_factory=dict)
    _engines_made: dict[str, int] = field(default_factory=dict)
    _engines_planned: dict[str, int] = field(default_factory=dict)

    def build(self, counts: list[int]) -> None:
        """So many nodes of each of the scenario's groups. Raises EngineSpecError when a model does not fit its node."""
        for group, count in zip(self.scenario.nodes, counts, strict=True):
            if group.model:
                planned = self._engines_planned.get(group.model, 0)
                self._engines_planned[group.model] = planned + count * group.engines_count
        kinds = [self._kind(group) for group in self.scenario.nodes]
        width = len(str(sum(counts)))
        number = 0
        for group, count, kind in zip(self.scenario.nodes, counts, kinds, strict=True):
            for _ in range(count):
                number += 1
                name = f"{self.prefix}-{group.provider}-{number:0{width}d}"
                self.nodes.append(self._node(name, group, kind))

    def _node(self, name: str, group: NodeGroup, kind: NodeKind) -> SimulatedNode:
        node = SimulatedNode(
            place=NodePlace(name, group.provider, group.region, group.zone),
            kind=kind,
            faults=faults_of(name, group.provider, group.region, self.scenario.faults, self.seed),
            random=random.Random(f"{self.seed}/{name}"),  # noqa: S311 - a simulation is to be repeatable
            began=self.began,
        )
        for spec, _ in zip(_specs(name, group, self.scenario), range(group.engines_count), strict=False):
            node.run_from_start(spec)
        return node

    def _kind(self, group: NodeGroup) -> NodeKind:
        known = DEVICES[group.device]
        devices = tuple(_device(known, index) for index in range(group.devices_count))

        def model_of(spec: EngineSpec, devices_count: int) -> EngineModel:
            described = self.scenario.model(spec.model) or self.scenario.model(spec.source)
            if described is None:
                raise EngineSpecError(f"the scenario describes no model {spec.model}: add [[models]] with this name")
            model = EngineModel(described.model_shape(), known.ceilings, described.limits(), described.costs())
            model = with_arguments(model, spec.engine_args)
            if model.limits.tensor_parallel > devices_count:
                raise EngineSpecError(
                    f"{spec.model} needs {model.limits.tensor_parallel} devices, here are {devices_count}"
                )
            return model

        def on_serving(model: str, change: int) -> None:
            self._share(model).serving_count += change

        return NodeKind(
            devices, model_of, self._traffic, on_serving, self.scenario.start_speed, self.speed, not self.with_traffic
        )

    def _traffic(self, spec: EngineSpec, model: EngineModel, instance_id: str) -> EngineTraffic | None:
        traffic = self._traffic_for(spec.model)
        if traffic is None:
            return None
        ordinal = self._engines_made.get(spec.model, 0)
        self._engines_made[spec.model] = ordinal + 1
        planned = max(1, self._engines_planned.get(spec.model, 1))
        return EngineTraffic(
            traffic,
            self._share(spec.model),
            random.Random(f"{self.seed}/{spec.engine_id}/{instance_id}"),  # noqa: S311 - likewise
            model.limits.block_tokens,
            model.shape.context_tokens_max,
            self.traces.get(traffic.trace, ()),
            ordinal % planned,
            planned,
        )

    def _traffic_for(self, model: str) -> Traffic | None:
        if not self.with_traffic:
            return None
        return next((traffic for traffic in self.scenario.traffic if traffic.model == model), None)

    def _share(self, model: str) -> Share:
        return self._shares.setdefault(model, Share())


def load_traces(scenario: Scenario, directory: Path | None) -> dict[str, tuple[TracedRequest, ...]]:
    """All that the scenario names. Raises BadSettingsError."""
    names = {traffic.trace for traffic in scenario.traffic if traffic.trace}
    return {name: load_trace(directory, name) for name in sorted(names)}


def scaled(scenario: Scenario, nodes_count: int | None) -> list[int]:
    """How many nodes of each group: as the file says, or so many in all, in the file's proportions."""
    counts = [group.count for group in scenario.nodes]
    if nodes_count is None:
        return counts
    total = sum(counts)
    shares = [nodes_count * count / total for count in counts]
    whole = [int(share) for share in shares]
    by_rest = sorted(range(len(counts)), key=lambda index: whole[index] - shares[index])
    for index in by_rest[: nodes_count - sum(whole)]:
        whole[index] += 1
    return whole


def _specs(name: str, group: NodeGroup, scenario: Scenario) -> Iterator[EngineSpec]:
    described = scenario.model(group.model) if group.model else None
    if described is None:
        return
    per_engine = described.tensor_parallel
    stem = f"{group.model.replace('/', '-').replace(':', '-')}@{name}"
    for index in range(group.engines_count):
        first = index * per_engine
        device_ids = tuple(f"{DEVICES[group.device].family}:{number}" for number in range(first, first + per_engine))
        engine_id = stem if index == 0 else f"{stem}.{index + 1}"
        yield EngineSpec(engine_id, 0, group.model, group.model, (), device_ids)


def _device(known: KnownDevice, index: int) -> Device:
    ceilings = known.ceilings
    return Device(
        device_id=f"{known.family}:{index}",
        kind=f"simulated {known.kind}",
        family=known.family,
        memory_bytes=ceilings.memory_bytes,
        ceilings=(Ceiling("bfloat16", ceilings.flops_per_second, ceilings.bytes_per_second, Source.TABLE),),
    )
