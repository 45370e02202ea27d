"""Settings as a TOML file, for `join`. Pure: the caller writes the text."""

import json
from collections.abc import Mapping
from typing import Any

_HEAD = "# Written by `stoker-agent join`. /etc/stoker/agent.toml, the environment and flags win over this file.\n"


def rendered(values: Mapping[str, Any]) -> str:
    """`values` by dotted key of two parts; empty ones are left out."""
    groups: dict[str, list[str]] = {}
    for key, value in values.items():
        group, _, name = key.partition(".")
        if value not in ("", (), {}, None):
            groups.setdefault(group, []).append(f"{name} = {_toml(value)}")
    tables = ("\n".join((f"[{group}]", *lines)) for group, lines in groups.items())
    return _HEAD + "\n" + "\n\n".join(tables) + "\n"


def _toml(value: Any) -> str:
    match value:
        case bool() | int() | float():
            return json.dumps(value)
        case Mapping():
            return "{ " + ", ".join(f"{_string(key)} = {_string(inner)}" for key, inner in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(_string(item) for item in value) + "]"
        case _:
            return _string(value)


def _string(value: Any) -> str:
    # JSON's strings are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
