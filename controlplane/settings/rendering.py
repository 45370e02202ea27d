"""Shows the settings in force, each with where its value comes from: what `check-config` prints. Pure.

Never shows a secret.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from controlplane.settings.loading import LoadedSettings
from controlplane.settings.model import masked_url, settings_of
from controlplane.settings.problems import shown


def render(loaded: LoadedSettings) -> str:
    """TOML, with a comment on every line. Settings that are not set stand in comments."""
    rows: list[tuple[str, str]] = []
    group = ""
    for key, value, can_reload in settings_of(loaded.settings):
        table, _, name = key.rpartition(".")
        if table != group:
            rows += [("", ""), (f"[{table}]", "")]
            group = table
        text = f"# {name} is not set" if value is None else f"{name} = {_toml(key, value)}"
        origin = loaded.origins[key]
        rows.append((text, f"# {origin}{', SIGHUP re-reads it' if can_reload else ''}"))
    width = min(60, max(len(text) for text, comment in rows if comment))
    return "\n".join(f"{text:<{width}}  {comment}".rstrip() for text, comment in rows)


def config_text(values: Mapping[str, str | tuple[str, ...] | None]) -> str:
    """A settings file with these settings (by dotted key, secrets and all). "": there is none to write."""
    lines: list[str] = []
    for key, value in values.items():
        if value:
            group, _, name = key.partition(".")
            lines += ["", f"[{group}]", f"{name} = {json.dumps(value)}"]
    return "\n".join(["# Written by `stoker-controlplane init`.", *lines, ""]) if lines else ""


def _toml(key: str, value: Any) -> str:
    if isinstance(value, SecretStr):
        return '"****"'
    if key == "database.url":
        return json.dumps(masked_url(value))
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, tuple):
        return f"[{', '.join(shown(item) for item in value)}]"
    if isinstance(value, float):
        return f"{int(value)}" if value.is_integer() else repr(value)
    return shown(value)
