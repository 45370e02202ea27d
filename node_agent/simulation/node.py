"""One simulated node: its devices, its engines and its faults. It obeys the same commands as a real node's supervisor.

Advanced by `session` at every beat; commands end when what they asked for has happened. No I/O, no clock of its own: the
time of the simulation comes in, and is shown as the wall clock that the node believes in.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zlib import crc32

from controlplane.simulation.engine_model import EngineModel
from node_agent.errors import EngineSpecError, StaleGenerationError
from node_agent.session.facts import Device, EngineSpec, EngineStatus, NodeEvent
from node_agent.session.hardware import MemoryLedger
from node_agent.session.values import Severity
from node_agent.simulation.accounts import ledgers_of
from node_agent.simulation.engine_process import EngineProcess, Plan, model_facts
from node_agent.simulation.faults import Faults
from node_agent.simulation.scenario import Fault
from node_agent.simulation.traffic import EngineTraffic

_NO_TIME = timedelta(0)
# Nothing in a ledger changes while the same engines serve; this often it is told again, so that it does not look old.
_LEDGER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class NodePlace:
    name: str
    provider: str
    region: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What `fleet` knows how to make for this node."""

    devices: tuple[Device, ...]
    model_of: Callable[[EngineSpec, int], EngineModel]  # raises EngineSpecError; the number of devices is the node's
    traffic_of: Callable[[EngineSpec, EngineModel, str], EngineTraffic | None]
    on_serving: Callable[[str, int], None]  # a model's engines that serve grew or shrank
    start_speed: float = 1.0
    speed: float = 1.0  # how much faster than its model an engine works
    keeps_changes: bool = False  # of KV blocks, to be published


@dataclass(frozen=True, slots=True)
class Stopped:
    """A stop that was asked for has happened."""

    command_id: str
    engine_id: str


@dataclass(slots=True)
class _Stopping:
    command_id: str
    engine_id: str
    forget: bool


@dataclass(slots=True)
class SimulatedNode:
    place: NodePlace
    kind: NodeKind
    faults: Faults
    random: random.Random
    began: datetime  # the wall clock at second 0 of the simulation
    engines: dict[str, EngineProcess] = field(default_factory=dict)
    events: list[NodeEvent] = field(default_factory=list)
    at: float = 0.0
    _active: tuple[Fault, ...] = ()
    _stopping: list[_Stopping] = field(default_factory=list)
    _ledgers: tuple[MemoryLedger, ...] = ()
    _ledgers_until: float = 0.0  # when they are made anew

    @property
    def silent(self) -> bool:
        return self._has("node_silent")

    @property
    def away(self) -> bool:
        return self._has("region_away")

    @property
    def clock_error(self) -> timedelta:
        """How far the node's clock is ahead of the truth."""
        if not self._active:
            return _NO_TIME
        return timedelta(seconds=sum(fault.error_seconds for fault in self._active if fault.kind == "clock_error"))

    def moment(self, at: float) -> datetime:
        """What the node's clock shows at this second of the simulation."""
        return self.began + timedelta(seconds=at) + self.clock_error

    def run_from_start(self, spec: EngineSpec, *, endpoint: str = "") -> EngineProcess:
        """An engine that was there before the simulation began."""
        process = EngineProcess(
            self._plan(spec), self.at, draw=self.random, on_serving=self._serving(spec.model), running=True
        )
        process.endpoint = endpoint
        self.engines[spec.engine_id] = process
        return process

    def start(self, spec: EngineSpec) -> None:
        """Raises AgentError."""
        present = self.engines.get(spec.engine_id)
        if present is not None and spec.generation < present.plan.spec.generation:
            raise StaleGenerationError(f"generation {present.plan.spec.generation} of {spec.engine_id} runs already")
        if present is not None and spec.generation == present.plan.spec.generation and not present.ended:
            return
        if present is not None and _is_the_same(present, spec):
            kept = replace(present.plan.spec, generation=spec.generation, source=spec.source)
            present.plan = replace(present.plan, spec=kept)
            return
        plan = self._plan(spec)
        if present is not None and present.serving:
            present.crash(self.at, "replaced by a newer generation")
        self.engines[spec.engine_id] = EngineProcess(
            plan, self.at, draw=self.random, on_serving=self._serving(spec.model)
        )

    def stop(self, command_id: str, engine_id: str, drain_seconds_max: float, *, forget: bool) -> None:
        process = self.engines.get(engine_id)
        if process is not None:
            process.stop(self.at, drain_seconds_max)
        self._stopping.append(_Stopping(command_id, engine_id, forget))

    def advance(self, until: float) -> list[Stopped]:
        """Bring the node to this second of the simulation."""
        if self.faults.planned:
            self._apply_faults(until)
        for process in self.engines.values():
            process.advance(until)
        self.at = until
        return self._stopped() if self._stopping else []

    def statuses(self) -> tuple[EngineStatus, ...]:
        readable = not self._has("metrics_garbage")
        return tuple(process.status(self.moment, readable=readable) for process in self.engines.values())

    def ledgers(self) -> tuple[MemoryLedger, ...]:
        """Where the devices' memory is. The same object for a while, unless an engine began or ceased to hold some."""
        if self.at >= self._ledgers_until:
            holders = [holder for process in self.engines.values() if (holder := process.holder()) is not None]
            self._ledgers = ledgers_of(self.kind.devices, holders, self.moment(self.at))
            # Of a large fleet a few nodes each second, not all at once.
            phase = crc32(self.place.name.encode()) % int(_LEDGER_SECONDS)
            self._ledgers_until = self.at + _LEDGER_SECONDS - (self.at + phase) % _LEDGER_SECONDS
        return self._ledgers

    def _has(self, kind: str) -> bool:
        return any(fault.kind == kind for fault in self._active)

    def _stopped(self) -> list[Stopped]:
        done: list[Stopped] = []
        for asked in [*self._stopping]:
            process = self.engines.get(asked.engine_id)
            if process is not None and not process.ended:
                continue
            if process is not None and asked.forget:
                del self.engines[asked.engine_id]
            self._stopping.remove(asked)
            done.append(Stopped(asked.command_id, asked.engine_id))
        return done

    def _plan(self, spec: EngineSpec) -> Plan:
        model = self.kind.model_of(spec, len(self.kind.devices))
        wanted = model.limits.tensor_parallel
        device_ids = spec.device_ids or tuple(device.device_id for device in self.kind.devices[:wanted])
        known = {device.device_id for device in self.kind.devices}
        if not set(device_ids) <= known:
            raise EngineSpecError(
                f"there is no {', '.join(sorted(set(device_ids) - known))} here: it has {', '.join(known)}"
            )
        if len(device_ids) < wanted:
            raise EngineSpecError(f"the model needs {wanted} devices and was given {len(device_ids)}: place it on more")
        return Plan(
            replace(spec, device_ids=device_ids),
            model,
            device_ids,
            self.kind.start_speed,
            lambda instance_id: self.kind.traffic_of(spec, model, instance_id),
            model_facts(model),
            1.0 / self.kind.speed,
            self.kind.keeps_changes,
        )

    def _serving(self, model: str) -> Callable[[int], None]:
        def changed(change: int) -> None:
            self._ledgers_until = self.at
            self.kind.on_serving(model, change)

        return changed

    def _apply_faults(self, until: float) -> None:
        before, self._active = self._active, self.faults.now(until)
        if self.faults.crashes_between(self.at, until):
            for process in self.engines.values():
                process.crash(until, "the simulated process was killed (a fault of the scenario)")
        if before == self._active:
            return
        pace = max((fault.factor for fault in self._active if fault.kind == "slow_device"), default=1.0)
        for process in self.engines.values():
            process.set_pace(pace)
        for fault in self._active:
            if fault not in before and fault.kind in ("slow_device", "metrics_garbage"):
                self.events.append(_told(fault, self.moment(until)))


def _is_the_same(present: EngineProcess, spec: EngineSpec) -> bool:
    """What ran from the start is placed as it is: then it becomes the operators' without a restart."""
    running = present.plan.spec
    same = (running.model, running.engine_args) == (spec.model, spec.engine_args)
    return running.generation == 0 and present.serving and same and spec.device_ids in ((), running.device_ids)


def _told(fault: Fault, at: datetime) -> NodeEvent:
    if fault.kind == "slow_device":
        text = f"the simulated device works {fault.factor:g} times as slowly as it should"
        return NodeEvent("device_slow", text, Severity.WARNING, at, action="nothing: the scenario wants it so")
    text = "the simulated engines' metrics cannot be read"
    return NodeEvent("metrics_unreadable", text, Severity.WARNING, at, action="nothing: the scenario wants it so")
