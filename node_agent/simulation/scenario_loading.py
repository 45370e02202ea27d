"""Reads a scenario file, and explains everything that is wrong with it at once, with its line.

Called by `stoker-agent simulate`. Never goes on with half a scenario.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from node_agent.settings import BadSettingsError
from node_agent.simulation.scenario import Scenario

_TABLE = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.-]+)\s*\]\]?")
_KEY = re.compile(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*=")


def load_scenario(path: Path) -> Scenario:
    """Raises BadSettingsError with every problem."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise BadSettingsError(
            [f"{path}: cannot be read ({error.strerror}); give a scenario with --scenario"]
        ) from error
    except UnicodeDecodeError as error:
        raise BadSettingsError([f"{path}: is not UTF-8 text: write it again with an editor"]) from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettingsError([f"{path}: is not TOML: {error}"]) from error
    return scenario_of(values, str(path), text)


def scenario_of(values: dict[str, Any], name: str, text: str = "") -> Scenario:
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        lines = _lines(text)
        problems = [
            f"{name}{_line(detail['loc'], lines)}: {_key(detail['loc'])}{_sentence(dict(detail))}"
            for detail in error.errors(include_url=False)
        ]
        raise BadSettingsError(dict.fromkeys(problems)) from error


def _sentence(detail: dict[str, Any]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    got = f" (got {str(detail['input'])[:60]!a})"
    match kind:
        case "extra_forbidden":
            return "there is no setting of this name; see docs/simulation.md"
        case "missing":
            return "is missing: set it"
        case "value_error":
            return str(context.get("error", ""))
        case "literal_error":
            return f"must be one of {context.get('expected', '')}{got}"
        case "too_short":
            return "has no entry: write at least one [[nodes]] table"
    return f"{detail['msg'].removeprefix('Input ').removeprefix('should ').replace('Input should', 'should')}{got}"


def _key(location: tuple[int | str, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else str(part) for part in location if not _is_union(part)]
    text = ""
    for part in parts:
        text += part if part.startswith("[") or not text else f".{part}"
    return f"{text}: " if text else ""


def _is_union(part: int | str) -> bool:
    return isinstance(part, str) and ("constrained" in part or part == "int")


def _line(location: tuple[int | str, ...], lines: dict[tuple[int | str, ...], int]) -> str:
    for length in range(len(location), 0, -1):
        if (number := lines.get(location[:length])) is not None:
            return f":{number}"
    return ""


def _lines(text: str) -> dict[tuple[int | str, ...], int]:
    """The line of every table and of every key that begins one; good enough to find it."""
    lines: dict[tuple[int | str, ...], int] = {}
    counts: dict[str, int] = {}
    table: tuple[int | str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if (header := _TABLE.match(line)) is not None:
            first, *rest = header[1].split(".")
            if line.lstrip().startswith("[[") and not rest:
                counts[first] = counts.get(first, -1) + 1
            index: tuple[int | str, ...] = (counts[first],) if first in counts else ()
            table = (first, *index, *rest)
            lines.setdefault(table, number)
            lines.setdefault((first,), number)
        elif (key := _KEY.match(line)) is not None:
            lines.setdefault((*table, key[1]), number)
    return lines
