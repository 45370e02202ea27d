"""What the agent must remember of each engine to find it again after its own restart: one small JSON file an engine.

Called by `Supervisor` and `EngineRunner`. Written whole and renamed, so that no crash leaves half a record. A record
that cannot be read is moved aside, never guessed at.
"""

import contextlib
import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from node_agent.engines.engine import EngineDescription
from node_agent.errors import EngineSpecError
from node_agent.session.facts import EngineCounters, EngineSpec, EngineState, Histogram
from node_agent.supervisor.process import ProcessIdentity

_T = TypeVar("_T")

_VERSION = 1
_RECORD_NAME = "record.json"
LOG_NAME = "log"
# The id names a directory.
_ENGINE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,199}")


@dataclass(frozen=True, slots=True)
class EngineRecord:
    spec: EngineSpec
    instance_id: str
    identity: ProcessIdentity
    port: int
    state: EngineState
    state_since: datetime
    restart_count: int = 0
    dtype: str = ""
    description: EngineDescription = field(default_factory=EngineDescription)
    excluded: EngineCounters | None = None  # the canaries' part of the counters; None before the first was answered
    adapters: dict[str, str] = field(default_factory=dict)  # name → its path on this node: to be served
    inside_folder: str = ""  # of the sockets by which it tells of itself; "": it was started without


class EngineDirectory:
    """Where one engine's record and log live."""

    def __init__(self, state_dir: Path, engine_id: str) -> None:
        if _ENGINE_ID.fullmatch(engine_id) is None:
            raise EngineSpecError(f"the engine id {engine_id[:80]!a} is not valid: use letters, digits and . _ @ -")
        self.path = engines_path(state_dir) / engine_id
        self.log_path = self.path / LOG_NAME
        self._record_path = self.path / _RECORD_NAME

    def make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def save(self, record: EngineRecord) -> None:
        """Raises OSError."""
        draft = self._record_path.with_suffix(".new")
        draft.write_text(json.dumps(_encode(record), indent=1) + "\n")
        draft.replace(self._record_path)

    def load(self) -> EngineRecord | None:
        """None when there is none. Raises ValueError when it cannot be read; it is then out of the way."""
        try:
            text = self._record_path.read_text()
        except FileNotFoundError:
            return None
        try:
            return _decode(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            with contextlib.suppress(OSError):
                self._record_path.replace(self._record_path.with_suffix(".unreadable"))
            raise ValueError(f"the record {self._record_path} cannot be read: {error}") from error

    def drop_record(self) -> None:
        with contextlib.suppress(OSError):
            self._record_path.unlink(missing_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def engines_path(state_dir: Path) -> Path:
    return state_dir / "engines"


def recorded_engine_ids(state_dir: Path) -> tuple[str, ...]:
    try:
        entries = sorted(engines_path(state_dir).iterdir())
    except FileNotFoundError:
        return ()
    named = (entry for entry in entries if _ENGINE_ID.fullmatch(entry.name))
    return tuple(entry.name for entry in named if (entry / _RECORD_NAME).exists())


def _encode(record: EngineRecord) -> dict[str, Any]:
    return {
        **asdict(record),
        "version": _VERSION,
        "state": record.state.value,
        "state_since": record.state_since.isoformat(),
    }


def _decode(data: dict[str, Any]) -> EngineRecord:
    if data["version"] != _VERSION:
        raise ValueError(f"it is of version {data['version']}, this agent reads {_VERSION}")
    excluded = data["excluded"]
    return EngineRecord(
        spec=_build(EngineSpec, data["spec"]),
        instance_id=str(data["instance_id"]),
        identity=_build(ProcessIdentity, data["identity"]),
        port=int(data["port"]),
        state=EngineState(data["state"]),
        state_since=datetime.fromisoformat(data["state_since"]),
        restart_count=int(data["restart_count"]),
        dtype=str(data["dtype"]),
        description=_build(EngineDescription, data["description"]),
        excluded=None if excluded is None else _decode_counters(excluded),
        adapters={str(name): str(source) for name, source in data.get("adapters", {}).items()},
        inside_folder=str(data.get("inside_folder", "")),
    )


def _decode_counters(data: dict[str, Any]) -> EngineCounters:
    values = {name: _build(Histogram, value) if isinstance(value, dict) else value for name, value in data.items()}
    return _build(EngineCounters, values)


def _build(kind: type[_T], data: dict[str, Any]) -> _T:
    """JSON knows no tuples; and what a newer agent wrote beside the known fields is left alone."""
    known = kind.__dataclass_fields__  # type: ignore[attr-defined]
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return kind(**{name: value for name, value in values.items() if name in known})
