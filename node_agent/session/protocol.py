"""What goes into the session machine and what comes out of it.

Events are what `node_agent.link` saw happen; effects are what it must do about them, in order. Frozen values, no I/O.
"""

from dataclasses import dataclass
from enum import Enum

from node_agent.session.commands import Command, Hello, Outcome, Report, Welcome
from node_agent.session.facts import Device, EngineSpec, EngineStatus, NodeEvent

PROTOCOL_VERSION = 1  # what this agent speaks
PROTOCOL_VERSION_MIN = 1  # the oldest that it still understands
CAPABILITIES = ("commands.v1",)


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


@dataclass(frozen=True, slots=True)
class EventRaised:
    """The supervisor or the link saw something worth an operator's eye."""

    event: NodeEvent


Event = (
    LinkUp
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
class Reconnect:
    """Close whatever link there is and dial again after this long."""

    after_seconds: float


@dataclass(frozen=True, slots=True)
class SaveEpoch:
    """Make this epoch durable before anything that follows it is done."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Emit:
    """Log this event on the node."""

    event: NodeEvent


Effect = Send | RunStart | RunStop | Reconnect | SaveEpoch | Emit
