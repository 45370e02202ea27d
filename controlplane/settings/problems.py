"""What can be wrong with settings, and how it is said: one line each, `where: key: what is wrong; what to do (got …)`.

Made by `settings.sources`, `settings.explain` and `settings.rules`; shown by `check-config`, `run` and SIGHUP.
Never shows the value of a secret, nor of a key that it does not know: that could be a secret, misspelled.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting's value comes from."""

    where: str  # "/etc/stoker/controlplane.toml", "environment STOKER_CONTROLPLANE_…", "--data-dir", "default"
    line: int | None = None  # in a file
    base: Path | None = None  # what a relative path is relative to. None: the working directory

    def __str__(self) -> str:
        return self.where if self.line is None else f"{self.where}:{self.line}"


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Problem:
    origin: Origin
    key: str  # "server.port"; "" when it is about the source as a whole
    message: str

    def __str__(self) -> str:
        text = ": ".join(part for part in (str(self.origin), self.key, self.message) if part)
        # Names of files may hold anything, and this goes to terminals.
        return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


class BadSettingsError(ConfigurationError):
    """Every problem at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(
            sorted(problems, key=lambda problem: (problem.origin.where, problem.origin.line or 0, problem.key))
        )
        super().__init__("\n".join(map(str, self.problems)))


def shown(value: Any) -> str:
    """A value as it may be shown in one short line, whatever is in it."""
    if isinstance(value, dict):
        return str(value["date"]) if set(value) == {"date"} else "a table"
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
