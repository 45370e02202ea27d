"""Loads settings from all their sources, and tells every problem at once.

Called by `__main__` (start, `check-config`) and by bootstrap (SIGHUP). Never keeps going with settings that are wrong.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from controlplane.settings.explain import problem_of
from controlplane.settings.model import Settings
from controlplane.settings.problems import DEFAULT, BadSettingsError, Origin, Problem
from controlplane.settings.rules import RULES
from controlplane.settings.sources import Gathered, gather
from controlplane.settings.values import is_path, known_keys


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    settings: Settings
    origins: Mapping[str, Origin]  # of every setting, by dotted key
    config_file: Path | None  # None: there is none
    notes: tuple[str, ...]  # not wrong, but worth a look


def load(
    config: Path | None = None,
    flags: Mapping[str, str | tuple[str, ...]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Settings from the file, then the environment, then flags (by dotted key: `settings.sources.FLAGS`).

    Raises BadSettingsError, with all problems.
    """
    return load_gathered(gather(config, flags or {}, os.environ if environ is None else environ))


def load_gathered(gathered: Gathered) -> LoadedSettings:
    """Settings from values that were gathered already. Raises BadSettingsError."""
    problems = list(gathered.problems)
    if _file_has_password(gathered):
        origin = gathered.origins[("database", "password")]
        problems.append(
            Problem(
                origin,
                "database.password",
                "does not belong in this file; put it in a file of its own and name that as database.password_file, "
                "or set STOKER_CONTROLPLANE_DATABASE__PASSWORD",
            )
        )
    _make_paths_absolute(gathered)
    settings, wrong_keys = _validated(gathered, problems)
    problems += _broken_rules(settings, gathered, wrong_keys)
    if problems:
        raise BadSettingsError(problems)
    origins = {key: gathered.origins.get(tuple(key.split(".")), DEFAULT) for key in known_keys()}
    return LoadedSettings(_with_password(settings, origins), origins, gathered.config_file, tuple(gathered.notes))


def _validated(gathered: Gathered, problems: list[Problem]) -> tuple[Settings, set[str]]:
    """The settings, with defaults for what is wrong, and the dotted keys of what is wrong."""
    values = gathered.values
    try:
        return _model(values), set()
    except ValidationError as error:
        details = error.errors(include_url=False)
    problems += [problem_of(detail, gathered) for detail in details]
    wrong = {tuple(detail["loc"])[:2] for detail in details}
    for path in wrong:
        _remove(values, path)
    return _model(values), {".".join(str(part) for part in path) for path in wrong}


def _model(values: dict[str, Any]) -> Settings:
    # As JSON, so that "strict" means what it means to someone who writes TOML: "7443" is no number, 1 is no string,
    # but an array is a tuple and a string can be a path. Dates become a table, which no setting accepts.
    text = json.dumps(values, default=lambda value: {"date": str(value)})
    return Settings.model_validate_json(text, strict=True)


def _remove(values: dict[str, Any], path: tuple[int | str, ...]) -> None:
    if path == ("data_dir",):
        values["data_dir"] = "/"
    elif len(path) == 1:
        values.pop(str(path[0]), None)
    elif isinstance(values.get(str(path[0])), dict):
        values[str(path[0])].pop(str(path[1]), None)


def _broken_rules(settings: Settings, gathered: Gathered, wrong_keys: set[str]) -> list[Problem]:
    problems = []
    for rule in RULES:
        if any(key in wrong_keys or key.split(".")[0] in wrong_keys for key in rule.keys):
            continue  # told already, and the rule would judge a default
        message = rule.broken(settings)
        if message:
            blamed = {key: gathered.origins.get(tuple(key.split("."))) for key in rule.keys}
            key = next((key for key, origin in blamed.items() if origin is not None), rule.keys[0])
            problems.append(Problem(blamed[key] or DEFAULT, key, message))
    return problems


def _make_paths_absolute(gathered: Gathered) -> None:
    """A relative path in a file is relative to that file; anywhere else, to the working directory."""
    for key in filter(is_path, known_keys()):
        group, _, name = key.rpartition(".")
        table = gathered.values.get(group) if group else gathered.values
        if isinstance(table, dict) and isinstance(table.get(name), str) and table[name]:
            origin = gathered.origin_of(tuple(key.split("."))) or DEFAULT
            table[name] = os.path.abspath((origin.base or Path()) / Path(table[name]).expanduser())  # noqa: PTH100


def _file_has_password(gathered: Gathered) -> bool:
    origin = gathered.origins.get(("database", "password"))
    return origin is not None and origin.line is not None


def _with_password(settings: Settings, origins: dict[str, Origin]) -> Settings:
    path = settings.database.password_file
    if path is None:
        return settings
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        password = ""
    if not password:
        message = f"{path} holds no password; write it there, as UTF-8 text"
        raise BadSettingsError([Problem(origins["database.password_file"], "database.password_file", message)])
    database = settings.database.model_copy(update={"password": SecretStr(password)})
    origins["database.password"] = Origin(str(path))
    return settings.model_copy(update={"database": database})
