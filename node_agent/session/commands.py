"""What the control plane says to an agent, and what the agent answers: frozen values without any I/O.

`node_agent.link.codec` makes them from the wire and back; `node_agent.session.machine` and `ledger` reason about them.
Nothing here trusts its content: `ledger.refusal` decides what may run.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from node_agent.session.facts import Device, EngineSpec, EngineStatus
from node_agent.session.hardware import DeviceHealth, MemoryLedger


class CommandStatus(Enum):
    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StartAction:
    """Run this engine; a newer generation replaces the running process."""

    spec: EngineSpec


@dataclass(frozen=True, slots=True)
class StopAction:
    drain_seconds_max: float  # finish what runs for at most this long
    forget: bool  # stop reporting the engine once it has stopped


@dataclass(frozen=True, slots=True)
class LoadAdapterAction:
    """Serve this LoRA adapter beside the engine's model, now and after each of its restarts."""

    name: str  # that clients ask for
    source: str  # a path on the node


@dataclass(frozen=True, slots=True)
class UnloadAdapterAction:
    name: str


@dataclass(frozen=True, slots=True)
class ProbeAction:
    """Measure the roofs of every device."""

    force: bool  # also while an engine runs


@dataclass(frozen=True, slots=True)
class ReportIntervalAction:
    seconds: float  # until the session ends


@dataclass(frozen=True, slots=True)
class UnknownAction:
    """Something that a newer control plane asks for and this agent cannot read."""


AdapterAction = LoadAdapterAction | UnloadAdapterAction
NodeAction = ProbeAction | ReportIntervalAction  # about the node, not about one of its engines
Action = StartAction | StopAction | AdapterAction | NodeAction | UnknownAction


@dataclass(frozen=True, slots=True)
class Command:
    command_id: str
    leader_epoch: int
    generation: int
    engine_id: str
    action: Action


@dataclass(frozen=True, slots=True)
class Outcome:
    command_id: str
    status: CommandStatus
    message: str  # for people: what happened, what to do
    at: datetime


@dataclass(frozen=True, slots=True)
class OwedCommand:
    """A command that the control plane may still wait for: what must survive a restart of the agent."""

    command: Command
    outcome: Outcome | None = None  # None: accepted, and not ended yet


@dataclass(frozen=True, slots=True)
class LogWanted:
    """Somebody wants to read an engine's log."""

    request_id: str
    engine_id: str
    lines_max: int


@dataclass(frozen=True, slots=True)
class LogLines:
    request_id: str
    lines: tuple[str, ...] = ()  # oldest first
    problem: str = ""  # why there are none, for people


@dataclass(frozen=True, slots=True)
class Welcome:
    protocol_version: int
    control_plane_version: str
    leader_epoch: int
    report_interval_seconds: float
    lease_seconds: float
    now: datetime | None = None  # by the control plane's clock; None: not told


@dataclass(frozen=True, slots=True)
class SimulatedIdentity:
    """For which node a simulator speaks, under its own certificate. A real agent has none of this."""

    node_name: str
    provider: str
    region: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Hello:
    protocol_version: int
    protocol_version_min: int
    agent_version: str
    boot_id: str
    devices: tuple[Device, ...]
    engines: tuple[EngineStatus, ...]
    leader_epoch_seen: int
    os: str
    capabilities: tuple[str, ...]
    stands_for: "SimulatedIdentity | None" = None


@dataclass(frozen=True, slots=True)
class Report:
    sequence: int  # within the session, from 1
    sent_at: datetime
    engines: tuple[EngineStatus, ...]
    devices: tuple[Device, ...] = ()  # only when they changed
    health: tuple[DeviceHealth, ...] = ()  # of all devices, once for each reading
    memory: tuple[MemoryLedger, ...] = ()  # likewise
