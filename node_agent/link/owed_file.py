"""The commands that this agent accepted and whose outcomes the control plane does not have yet, on disk.

Written by `session_runner` before such a command is carried out and before its outcome is told; read once at the start.
One small file, written whole and renamed. One that cannot be read is moved aside and said: what was owed is then lost,
and the control plane plans again from what runs.
"""

import contextlib
import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from node_agent.link.files import private_directory, write_atomically
from node_agent.session.commands import (
    Action,
    Command,
    CommandStatus,
    LoadAdapterAction,
    Outcome,
    OwedCommand,
    ProbeAction,
    ReportIntervalAction,
    StartAction,
    StopAction,
    UnknownAction,
    UnloadAdapterAction,
)
from node_agent.session.facts import EngineSpec

_VERSION = 1
_KINDS: dict[str, type[Action]] = {
    "start": StartAction,
    "stop": StopAction,
    "load_adapter": LoadAdapterAction,
    "unload_adapter": UnloadAdapterAction,
    "probe": ProbeAction,
    "report_interval": ReportIntervalAction,
    "unknown": UnknownAction,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


class OwedFile:
    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "commands.json"

    def load(self) -> tuple[OwedCommand, ...]:
        """Raises ValueError, a sentence for people, when there is a file that cannot be read; it is then out of the way."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ValueError(f"the commands kept in {self._path} cannot be read: {error.strerror}") from error
        try:
            return _decode_all(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            aside = self._path.with_suffix(".unreadable")
            with contextlib.suppress(OSError):
                self._path.replace(aside)
            raise ValueError(
                f"the commands kept in {self._path} cannot be read ({type(error).__name__}: {error}): the file is now "
                f"{aside.name}, and what was under way is planned again"
            ) from error

    def save(self, owed: tuple[OwedCommand, ...]) -> None:
        """Durable when it returns. Raises OSError."""
        private_directory(self._path.parent)
        data = {"version": _VERSION, "commands": [_encode(item) for item in owed]}
        write_atomically(self._path, json.dumps(data).encode())


def _encode(item: OwedCommand) -> dict[str, Any]:
    command, outcome = item.command, item.outcome
    return {
        "command_id": command.command_id,
        "leader_epoch": command.leader_epoch,
        "generation": command.generation,
        "engine_id": command.engine_id,
        "kind": _NAMES[type(command.action)],
        "action": asdict(command.action),
        "outcome": None
        if outcome is None
        else {"status": outcome.status.value, "message": outcome.message, "at": outcome.at.isoformat()},
    }


def _decode_all(data: dict[str, Any]) -> tuple[OwedCommand, ...]:
    if data["version"] != _VERSION:
        raise ValueError(f"it is of version {data['version']}, this agent reads {_VERSION}")
    return tuple(_decode(item) for item in data["commands"])


def _decode(data: dict[str, Any]) -> OwedCommand:
    command_id, outcome = str(data["command_id"]), data["outcome"]
    return OwedCommand(
        Command(
            command_id=command_id,
            leader_epoch=int(data["leader_epoch"]),
            generation=int(data["generation"]),
            engine_id=str(data["engine_id"]),
            action=_action(data["kind"], data["action"]),
        ),
        None
        if outcome is None
        else Outcome(
            command_id, CommandStatus(outcome["status"]), str(outcome["message"]), datetime.fromisoformat(outcome["at"])
        ),
    )


def _action(kind: str, data: dict[str, Any]) -> Action:
    if kind == "start":
        # JSON knows no tuples.
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data["spec"].items()
        }
        return StartAction(EngineSpec(**values))
    return _KINDS[kind](**data)
