"""The vocabulary of an engine's life: what is known of it, what can happen to it, what is to be done. Data only.

`lifecycle` reasons about it, `EngineRunner` feeds it. Times are monotonic seconds.
"""

from dataclasses import dataclass

from node_agent.session.facts import EngineSpec, EngineState

LAUNCHING = "launching"


@dataclass(frozen=True, slots=True)
class Life:
    """Where an engine is. None means that there is no such moment."""

    spec: EngineSpec
    state: EngineState
    since: float
    has_process: bool = False  # True from the asking for it until its death is known
    stage: str = ""  # while STARTING
    reason: str = ""  # for people: why it is not READY
    deadline: float | None = None  # of STARTING, of DRAINING, or the next signal of STOPPING
    retry_at: float | None = None  # while BACKING_OFF
    next_spec: EngineSpec | None = None  # to be started once this process is gone
    stop_wanted: bool = False
    doomed: bool = False  # STOPPING because it is broken: to be started again
    quiet_since: float | None = None  # while DRAINING: no request seen since
    deaths: tuple[float, ...] = ()
    early_deaths: int = 0
    restart_count: int = 0


# Events: what was asked, and what happened.


@dataclass(frozen=True, slots=True)
class Start:
    """A newer generation, or the same one of an engine that was stopped."""

    spec: EngineSpec


@dataclass(frozen=True, slots=True)
class Stop:
    drain_seconds_max: float


@dataclass(frozen=True, slots=True)
class StageSeen:
    stage: str


@dataclass(frozen=True, slots=True)
class Answering:
    """A canary was answered."""


@dataclass(frozen=True, slots=True)
class LoadSeen:
    """A fresh reading of the engine; None where it did not tell."""

    running: int | None
    waiting: int | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """It holds work, makes no progress, and did not answer a canary."""

    reason: str


@dataclass(frozen=True, slots=True)
class Died:
    """There is no process any more, or there never was one (`reason` says why it could not be started)."""

    reason: str
    retryable: bool
    draw: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


Event = Start | Stop | StageSeen | Answering | LoadSeen | Stuck | Died | Tick

# Effects: what the runner is to do, in this order.


@dataclass(frozen=True, slots=True)
class Spawn:
    spec: EngineSpec


@dataclass(frozen=True, slots=True)
class Terminate:
    """SIGTERM to the process."""


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to it and to everything that it started."""


Effect = Spawn | Terminate | Kill
Step = tuple[Life, tuple[Effect, ...]]
