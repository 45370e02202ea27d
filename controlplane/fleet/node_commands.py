"""What is asked of a node or an engine once, and is no desired state. Facts; made by services, sent by `runtime`."""

from dataclasses import dataclass

COMMANDS_CAPABILITY = "commands.v2"  # of agents that know adapters, probes, the report interval and logs


@dataclass(frozen=True, slots=True)
class ProbeCommand:
    """Measure the roofs of every device."""

    command_id: str
    node: str
    force: bool  # also while an engine runs there


@dataclass(frozen=True, slots=True)
class ReportIntervalCommand:
    command_id: str
    node: str
    seconds: float  # until the session ends


@dataclass(frozen=True, slots=True)
class LogRequest:
    """The last lines of an engine's log, please."""

    request_id: str
    engine_id: str
    lines_max: int


@dataclass(frozen=True, slots=True)
class LogAnswer:
    request_id: str
    lines: tuple[str, ...]  # oldest first
    problem: str = ""  # why there are none, for people
