"""What goes into the session machine and what comes out of it.

Events are what `node_agent.link` saw happen; effects are what it must do about them, in order. Frozen values, no I/O.
"""

from dataclasses import dataclass
from enum import Enum

from node_agent.session.commands import Command, Hello, Outcome, OwedCommand, Report, Welcome
from node_agent.session.facts import Device, EngineSpec, EngineStatus, NodeEvent
from node_agent.session.hardware import DeviceHealth, MemoryLedger

PROTOCOL_VERSION = 1  # what this agent speaks
PROTOCOL_VERSION_MIN = 1  # the oldest that it still understands
# What a newer control plane may ask for. commands.v2: adapters, probes, the report interval, logs.
# residency.SCHEME: resident prefixes, cut and hashed as controlplane/proto/prefix_text.py does.
CAPABILITIES = ("commands.v1", "commands.v2", "records.v1", "residency.text-1")


class LinkFailure(Enum):
    """Why there is no link, as far as it matters for what to do next."""

    UNREACHABLE = "unreachable"  # no answer at all: try again soon
    LOST = "lost"  # it was up: try again soon
    UNTRUSTED = "untrusted"  # one side does not trust the other's certificate: needs a person
    REFUSED = "refused"  # the control plane said no: needs a person

    @property
    def needs_a_person(self) -> bool:
        return self in (LinkFailure.UNTRUSTED, LinkFailure.REFUSED)


# ---- events


@dataclass(frozen=True, slots=True)
class Resumed:
    """The agent has started, and knows what an earlier run of it still owed. Before any other event."""

    owed: tuple[OwedCommand, ...]
    engines: tuple[EngineStatus, ...]  # those found running


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The stream is open; nothing was said yet."""

    engines: tuple[EngineStatus, ...]
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class LinkDown:
    failure: LinkFailure
    message: str
    draw: float  # uniform in [0, 1): spreads the agents' retries


@dataclass(frozen=True, slots=True)
class WelcomeReceived:
    welcome: Welcome
    draw: float  # used only if the protocol does not fit


@dataclass(frozen=True, slots=True)
class CommandReceived:
    command: Command


@dataclass(frozen=True, slots=True)
class CommandFinished:
    command_id: str
    succeeded: bool
    message: str


@dataclass(frozen=True, slots=True)
class OutcomeAcknowledged:
    command_id: str


@dataclass(frozen=True, slots=True)
class TickElapsed:
    """A report is due."""

    engines: tuple[EngineStatus, ...]
    devices: tuple[Device, ...]
    health: tuple[DeviceHealth, ...] = ()  # the latest reading, told before or not
    memory: tuple[MemoryLedger, ...] = ()  # likewise


@dataclass(frozen=True, slots=True)
class EventRaised:
    """The supervisor or the link saw something worth an operator's eye."""

    event: NodeEvent


Event = (
    Resumed
    | LinkUp
    | LinkDown
    | WelcomeReceived
    | CommandReceived
    | CommandFinished
    | OutcomeAcknowledged
    | TickElapsed
    | EventRaised
)

# ---- effects


@dataclass(frozen=True, slots=True)
class Send:
    message: Hello | Report | Outcome | NodeEvent


@dataclass(frozen=True, slots=True)
class RunStart:
    command_id: str
    spec: EngineSpec


@dataclass(frozen=True, slots=True)
class RunStop:
    command_id: str
    engine_id: str
    drain_seconds_max: float
    forget: bool


@dataclass(frozen=True, slots=True)
class RunLoadAdapter:
    command_id: str
    engine_id: str
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class RunUnloadAdapter:
    command_id: str
    engine_id: str
    name: str


@dataclass(frozen=True, slots=True)
class RunProbe:
    command_id: str
    force: bool


@dataclass(frozen=True, slots=True)
class RunReportInterval:
    """The machine carries this one out itself: nobody outside ever sees it."""

    command_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Close whatever link there is and dial again after this long."""

    after_seconds: float


@dataclass(frozen=True, slots=True)
class SaveEpoch:
    """Make this epoch durable before anything that follows it is done."""

    epoch: int


@dataclass(frozen=True, slots=True)
class SaveOwed:
    """Make durable what is owed, all of it, before anything that follows is done: commands begin and outcomes are told."""

    owed: tuple[OwedCommand, ...]


@dataclass(frozen=True, slots=True)
class Emit:
    """Log this event on the node."""

    event: NodeEvent


Run = RunStart | RunStop | RunLoadAdapter | RunUnloadAdapter | RunProbe | RunReportInterval
Effect = Send | Run | Reconnect | SaveEpoch | SaveOwed | Emit
