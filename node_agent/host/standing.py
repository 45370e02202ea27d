"""How the agent stands, in one line for `systemctl status` and in a small file for `stoker-agent status` and `doctor`.

Written by `cli.running` when it changes; read by other processes of the same machine, which therefore need not ask the
agent anything. It tells when it was written: whether the agent still runs is told by its lock alone.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from node_agent.session.facts import EngineState, EngineStatus

# The order in which an operator wants to read them.
_ORDER = (
    EngineState.READY,
    EngineState.STARTING,
    EngineState.DRAINING,
    EngineState.STOPPING,
    EngineState.BACKING_OFF,
    EngineState.FAILED,
    EngineState.STOPPED,
)
_KNOWN = frozenset(state.value for state in _ORDER)


@dataclass(frozen=True, slots=True)
class Standing:
    pid: int
    version: str
    connection: str  # a sentence: "connected to …", "not connected: …"
    connected: bool
    watched: bool  # whether the service manager restarts an agent that hangs
    engines: Mapping[str, int] = field(default_factory=dict)  # how many are in which state; none is left out
    clock_error_seconds: float | None = None  # ahead of the control plane's clock; None: never told
    clock_told_at: datetime | None = None


def count_states(engines: Iterable[EngineStatus]) -> dict[str, int]:
    found = Counter(engine.state for engine in engines)
    return {state.value: found[state] for state in _ORDER if found[state]}


def line(standing: Standing) -> str:
    counted = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in standing.engines.items())
    return f"{standing.connection}; engines: {counted or 'none'}"


def standing_path(state_dir: Path) -> Path:
    return state_dir / "standing.json"


def save(state_dir: Path, standing: Standing) -> None:
    """Whole or not at all. Raises OSError."""
    told = standing.clock_told_at
    values = {**asdict(standing), "clock_told_at": None if told is None else told.isoformat()}
    path = standing_path(state_dir)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(values) + "\n")
    draft.replace(path)


def load(state_dir: Path) -> Standing | None:
    """None when there is none, or none that this version can read."""
    try:
        data = json.loads(standing_path(state_dir).read_text())
        error, told = data["clock_error_seconds"], data["clock_told_at"]
        return Standing(
            pid=int(data["pid"]),
            version=str(data["version"]),
            connection=str(data["connection"]),
            connected=bool(data["connected"]),
            watched=bool(data["watched"]),
            engines={state: int(count) for state, count in data["engines"].items() if state in _KNOWN},
            clock_error_seconds=None if error is None else float(error),
            clock_told_at=None if told is None else datetime.fromisoformat(told),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
