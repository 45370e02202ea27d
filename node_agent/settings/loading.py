"""Settings from all their sources. Called by the command line; tests pass `environ` and files of their own.

Weakest first: defaults, `<state_dir>/agent.toml` (written by `join`), `/etc/stoker/agent.toml` or `--config`, the
environment, flags. Never goes on with settings that are wrong.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from node_agent.settings.model import GROUPS, KEYS, AgentSettings
from node_agent.settings.problems import BadSettingsError
from node_agent.settings.sources import (
    CONFIG_VARIABLE,
    SYSTEM_CONFIG,
    Found,
    Settings,
    default_state_dir,
    from_environment,
    from_file,
    is_root,
    own_settings_path,
)

_WANTED = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a string; write it in quotes",
    "path_type": "must be a path; write it in quotes",
    "tuple_type": 'must be a list of strings; write ["one", "two"]',
    "mapping_type": 'must be a table of strings; write { key = "value" }',
}
_LIMITS = {
    "greater_than": ("gt", "must be more than {}"),
    "greater_than_equal": ("ge", "must be at least {}"),
    "less_than": ("lt", "must be less than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "literal_error": ("expected", "must be one of {}"),
    "value_error": ("error", "{}"),
}


def load(
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> AgentSettings:
    """`flags` by dotted key, only those given. Raises BadSettingsError with every problem."""
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    named = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    over = from_file(named or SYSTEM_CONFIG, problems, required=named is not None)
    over |= from_environment(environ, problems)
    over |= {key: Found(value, f"--{key.rpartition('.')[2].replace('_', '-')}") for key, value in (flags or {}).items()}
    default = Found(str(default_state_dir(environ, is_root=is_root())), "default")
    state_dir = Path(str(over.get("state_dir", default).value)).expanduser().absolute()
    found = from_file(own_settings_path(state_dir), problems, required=False) | over
    found["state_dir"] = Found(state_dir, over.get("state_dir", default).origin)
    settings = _validated(found, problems)
    if problems or settings is None:
        raise BadSettingsError(problems)
    return settings


def _validated(found: Settings, problems: list[str]) -> AgentSettings | None:
    values: dict[str, Any] = {}
    for key, setting in found.items():
        group, dot, name = key.partition(".")
        if key not in KEYS:
            problems.append(f"{setting.origin}: {key}: no setting has this name; {_nearest(key)}")
        elif dot:
            values.setdefault(group, {})[name] = setting.value
        else:
            values[key] = setting.value
    try:
        return AgentSettings.model_validate(values)
    except ValidationError as error:
        problems += [_problem(detail, found) for detail in error.errors(include_url=False)]
        return None


def _problem(detail: ErrorDetails, found: Settings) -> str:
    path = [str(part) for part in detail["loc"]]
    key = ".".join(path[:2])
    setting = found.get(key) or next((value for name, value in found.items() if name.startswith(f"{key}.")), None)
    got = "" if detail["type"] == "value_error" else f" (got {str(detail['input'])[:60]!a})"
    return f"{setting.origin if setting else 'settings'}: {'.'.join(path)}: {_sentence(detail)}{got}"


def _sentence(detail: ErrorDetails) -> str:
    if detail["type"] in _LIMITS:
        name, sentence = _LIMITS[detail["type"]]
        return sentence.format(detail.get("ctx", {}).get(name, ""))
    return _WANTED.get(detail["type"], "has a value that does not fit; see the documentation of this setting")


def _nearest(key: str) -> str:
    close = difflib.get_close_matches(key, KEYS, 1)
    if close:
        return f"did you mean {close[0]}?"
    name = key.rpartition(".")[2]
    elsewhere = [known for known in KEYS if known.rpartition(".")[2] == name]
    if elsewhere:
        group, _, setting = elsewhere[0].rpartition(".")
        return f"{setting} belongs in [{group}]" if group else f"{setting} belongs above all tables"
    return f"there are state_dir and the tables {', '.join(f'[{group}]' for group in GROUPS)}"
