"""Where the agent's settings come from, each with its origin: files, the environment, flags.

Called by `settings.loading`. Gathers; judges nothing but what cannot be read.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from node_agent.settings.model import GROUPS, KEYS

PREFIX = "STOKER_AGENT_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
SYSTEM_CONFIG = Path("/etc/stoker/agent.toml")

_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"\s*\"?([A-Za-z0-9_.-]+)\"?\s*=")


@dataclass(frozen=True, slots=True)
class Found:
    value: Any
    origin: str  # "/etc/stoker/agent.toml:7", "environment STOKER_AGENT_NODE__NAME", "--state-dir"


Settings = dict[str, Found]  # by dotted key


def default_state_dir(environ: Mapping[str, str], *, is_root: bool) -> Path:
    """systemd's state directory for a unit, /var/lib/stoker-agent for root, the user's own data directory otherwise."""
    if state_directory := environ.get("STATE_DIRECTORY"):
        return Path(state_directory.split(":")[0])
    return Path("/var/lib/stoker-agent") if is_root else Path(platformdirs.user_data_dir("stoker-agent"))


def own_settings_path(state_dir: Path) -> Path:
    """What `join` wrote, so that `run` needs no more than the state directory."""
    return state_dir / "agent.toml"


def from_file(path: Path, problems: list[str], *, required: bool) -> Settings:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            problems.append(f"{path}: there is no such file; name one that exists")
        return {}
    except UnicodeDecodeError:
        problems.append(f"{path}: the file is not UTF-8; save it as UTF-8")
        return {}
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); check its owner and mode")
        return {}
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{path}: this is not TOML; {error}")
        return {}
    lines = _lines(text)
    return {
        key: Found(value, f"{path}:{lines[key]}" if key in lines else str(path)) for key, value in _flat(values).items()
    }


def from_environment(environ: Mapping[str, str], problems: list[str]) -> Settings:
    """`STOKER_AGENT_NODE__NAME` is `node.name`. An empty variable counts as not set."""
    names = {f"{PREFIX}{key.upper().replace('.', '__')}": key for key in KEYS}
    found = {}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE or not value:
            continue
        if name in names:
            found[names[name]] = Found(value, f"environment {name}")
        elif "__" in name:
            problems.append(f"environment {name}: no setting has this name; see `stoker-agent run --help`")
    return found


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key in GROUPS and isinstance(value, Mapping):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def _lines(text: str) -> dict[str, int]:
    """The line of every setting, as far as it is written on a line of its own; good enough to find it."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if (header := _TABLE.match(line)) is not None:
            table = f"{header[1]}."
            lines.setdefault(header[1], number)
        elif (key := _KEY.match(line)) is not None:
            lines.setdefault(f"{table}{key[1]}", number)
    return lines


def is_root() -> bool:
    return os.geteuid() == 0
