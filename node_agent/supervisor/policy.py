"""How patient the supervisor is: every duration and limit that its parts decide by.

Made by the agent's settings, given to `Supervisor`, read by the pure parts. The defaults suit a GPU node with models
that take minutes to load.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SupervisorPolicy:
    tick_seconds: float = 0.5  # how soon a death or a passed deadline is seen
    scrape_seconds: float = 1.0
    # A start: from the process to the first answered canary.
    start_seconds_max: float = 1800.0
    canary_seconds_max: float = 60.0
    settle_seconds: float = 0.2  # between two readings that must agree before counting starts
    # Work that does not move, or a port that does not answer, for this long brings a canary; a failed one a restart.
    stuck_seconds: float = 60.0
    unresponsive_seconds: float = 30.0
    # Stopping: finish what runs, then SIGTERM, then SIGKILL.
    drain_seconds_max: float = 300.0  # when a newer generation replaces an engine; a stop command brings its own
    drain_grace_seconds: float = 2.0  # requests that the gateway sent before it knew may still be in the air
    stop_seconds_max: float = 30.0  # from SIGTERM to SIGKILL; vLLM's --shutdown-timeout and its tear-down fit in
    kill_seconds: float = 5.0  # between one SIGKILL and the next, should the process linger
    # Deaths.
    backoff_seconds_first: float = 2.0
    backoff_seconds_max: float = 120.0
    backoff_factor: float = 2.0
    deaths_max: int = 5  # within the window: then FAILED
    deaths_window_seconds: float = 900.0
    early_deaths_max: int = 3  # in a row, before the log told anything: then FAILED
    # Logs: the current file is cut when it is larger, keeping its end in a second one.
    log_bytes_max: int = 16 * 1024 * 1024
    log_tail_lines: int = 20
