"""Where settings come from: a TOML file, the environment, flags. Later ones win.

Called by `settings.loading`. Gathers values with their origins; never judges them, but for what cannot be read.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from controlplane.settings.problems import Origin, Problem
from controlplane.settings.toml_lines import KeyPath, key_lines
from controlplane.settings.values import known_keys, value_from_text

PREFIX = "STOKER_CONTROLPLANE_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
FLAGS = {"data_dir": "--data-dir", "database.url": "--database-url", "server.hosts": "--host"}
SYSTEM_CONFIG = Path("/etc/stoker/controlplane.toml")


@dataclass
class Gathered:
    """Values by nested key, and where each came from."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    config_file: Path | None = None

    def put(self, key: str, value: Any, origin: Origin) -> None:
        *groups, name = key.split(".")
        table = self.values
        for group in groups:
            inner = table.setdefault(group, {})
            if not isinstance(inner, dict):
                return  # the file has `server = 5`: that is told, and nothing can be put there
            table = inner
        table[name] = value
        self.origins = {path: at for path, at in self.origins.items() if path[: len(groups) + 1] != (*groups, name)}
        self.origins[(*groups, name)] = origin

    def origin_of(self, path: KeyPath) -> Origin | None:
        """Of the value at `path`, or of the nearest thing around it. None: nobody set it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return None


def default_data_dir(environ: Mapping[str, str], *, is_root: bool | None = None) -> Path:
    """/var/lib/stoker for root, systemd's state directory for a unit, the user's own data directory otherwise."""
    if state_directory := environ.get("STATE_DIRECTORY"):
        return Path(state_directory.split(":")[0])
    if os.geteuid() == 0 if is_root is None else is_root:
        return Path("/var/lib/stoker")
    return Path(platformdirs.user_data_dir("stoker"))


def gather(config: Path | None, flags: Mapping[str, str | tuple[str, ...]], environ: Mapping[str, str]) -> Gathered:
    """All values. `flags` by dotted key (see FLAGS), only those that were given."""
    gathered = Gathered()
    variables = _variables(environ, gathered)
    first_data_dir = flags.get("data_dir") or variables.get("data_dir", ("", ""))[1] or default_data_dir(environ)
    _read_file(gathered, _config_file(config, environ, Path(str(first_data_dir)).expanduser()))
    for key, (name, text) in variables.items():
        gathered.put(key, value_from_text(key, text), Origin(f"environment {name}"))
    for key, value in flags.items():
        gathered.put(key, list(value) if isinstance(value, tuple) else value, Origin(FLAGS[key]))
    if "data_dir" not in gathered.values:
        gathered.values["data_dir"] = str(first_data_dir)
    return gathered


@dataclass(frozen=True)
class _ConfigFile:
    path: Path
    asked_by: str = ""  # who named it. "": a default place, where it may well be missing


def _config_file(config: Path | None, environ: Mapping[str, str], data_dir: Path) -> _ConfigFile | None:
    if config is not None:
        return _ConfigFile(config, "--config")
    if named := environ.get(CONFIG_VARIABLE):
        return _ConfigFile(Path(named), f"environment {CONFIG_VARIABLE}")
    for path in (data_dir / "controlplane.toml", SYSTEM_CONFIG):
        if path.exists():
            return _ConfigFile(path)
    return None


def _read_file(gathered: Gathered, file: _ConfigFile | None) -> None:
    if file is None:
        return None
    path = Path(os.path.abspath(file.path.expanduser()))  # noqa: PTH100 - absolute, but symbolic links keep their names
    where = str(path)

    def refuse(message: str, line: int | None = None) -> None:
        gathered.problems.append(Problem(Origin(where, line), "", message))

    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return refuse("the file is not UTF-8; save it as UTF-8", line)
    except OSError as error:
        hint = f"named by {file.asked_by}; name a file that exists" if file.asked_by else "check its owner and mode"
        return refuse(f"cannot read the file: {error.strerror}; {hint}")
    gathered.config_file = path
    text = text.replace("\r\n", "\n")
    try:
        gathered.values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, line, column = _syntax_error(str(error), text)
        return refuse(f"column {column}: {message}; this is not TOML", line)
    gathered.origins = {key: Origin(where, line, path.parent) for key, line in key_lines(text).items()}
    return None


def _syntax_error(message: str, text: str) -> tuple[str, int, int]:
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if found is not None:
        return found[1], int(found[2]), int(found[3])
    lines = text.split("\n")
    return message.removesuffix(" (at end of document)"), len(lines), len(lines[-1]) + 1


def _variables(environ: Mapping[str, str], gathered: Gathered) -> dict[str, tuple[str, str]]:
    """Our environment variables, by dotted key: (name, text). An empty one counts as not set."""
    by_name = {f"{PREFIX}{key.upper().replace('.', '__')}": key for key in known_keys()}
    found = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE:
            continue
        if name in by_name:
            if text:
                found[by_name[name]] = (name, text)
            continue
        if "__" in name.removeprefix(PREFIX):
            close = difflib.get_close_matches(name, by_name, 1, 0.8)
            hint = f"did you mean {close[0]}?" if close else "`check-config` prints all settings"
            gathered.problems.append(Problem(Origin(f"environment {name}"), "", f"no setting has this name; {hint}"))
        elif meant := [known for known in by_name if known.replace("__", "_") == name]:
            # A hint must do: Kubernetes sets variables that look like this for a service of our name.
            gathered.notes.append(f"environment {name} is not a setting and is ignored; did you mean {meant[0]}?")
    return found
