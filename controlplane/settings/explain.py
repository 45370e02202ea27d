"""Says in people's words what the model refuses.

Called by `settings.loading` with pydantic's errors. Pure. Never passes on a library's wording.
"""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic_core import ErrorDetails

from controlplane.settings.problems import DEFAULT, Problem, shown
from controlplane.settings.sources import Gathered
from controlplane.settings.values import choices_of, group_models, is_secret, known_keys, types_of

_WANTED: tuple[tuple[Any, str, str], ...] = (
    (bool, "must be true or false", "write it without quotes"),
    (int, "must be a whole number", "write it without quotes and without a point"),
    (float, "must be a number", "write it without quotes"),
    (tuple, "must be a list of strings", 'write ["one", "two"]'),
    (Path, "must be a path", "write it in quotes"),
    (str, "must be a string", "write it in quotes"),
)

_REPLACED = {
    "history.samples_retention_days": (
        "samples are kept by the hour now; set samples_retention_hours, and minutes_retention_days for the minutes made of them"
    ),
}

_LIMITS: dict[str, Callable[[dict[str, Any]], str]] = {
    "greater_than": lambda ctx: f"must be more than {_number(ctx['gt'])}",
    "greater_than_equal": lambda ctx: f"must be at least {_number(ctx['ge'])}",
    "less_than": lambda ctx: f"must be less than {_number(ctx['lt'])}",
    "less_than_equal": lambda ctx: f"must be at most {_number(ctx['le'])}",
    "finite_number": lambda _: "must be a finite number",
    "string_too_short": lambda _: "must not be empty",
}


def problem_of(error: ErrorDetails, gathered: Gathered) -> Problem:
    path = tuple(error["loc"])
    key = _dotted(path)
    origin = gathered.origin_of(path) or DEFAULT
    if error["type"] == "extra_forbidden":
        return Problem(origin, key, f"no setting has this name; {_REPLACED.get(key) or _did_you_mean(path)}")
    got = "" if _hidden(path) else f" (got {shown(error['input'])})"
    return Problem(origin, key, f"{_sentence(error, path)}{got}")


def _sentence(error: ErrorDetails, path: tuple[int | str, ...]) -> str:
    if path[0] in group_models() and len(path) == 1:
        return f"is a group of settings; write [{path[0]}] on a line of its own, and its settings below"
    key = ".".join(str(part) for part in path[:2])
    if choices := choices_of(key):
        close = difflib.get_close_matches(str(error["input"]).lower(), choices, 1)
        return f"must be one of {', '.join(choices)}; {f'did you mean {close[0]}?' if close else 'choose one'}"
    if error["type"] in _LIMITS:
        return f"{_LIMITS[error['type']](error.get('ctx', {}))}; change the value"
    if isinstance(path[-1], int):
        return "every item must be a string; write it in quotes"
    for type_, wanted, advice in _WANTED:
        if type_ in types_of(key):
            return f"{wanted}; {advice}"
    return "has a value that does not fit; see docs"


def _did_you_mean(path: tuple[int | str, ...]) -> str:
    name = str(path[-1])
    if len(path) == 1:
        elsewhere = [key for key in known_keys() if key.split(".")[-1] == name]
        candidates = [*group_models(), *(key for key in known_keys() if "." not in key)]
    else:
        elsewhere = [key for key in known_keys() if key.split(".")[-1] == name and "." in key]
        candidates = list(group_models()[str(path[0])].model_fields)
    close = difflib.get_close_matches(name, candidates, 1)
    if close:
        return f"did you mean {close[0]}?"
    if elsewhere:
        group, _, setting = elsewhere[0].rpartition(".")
        return f"{setting} belongs in [{group}]"
    every_key = {key.split(".")[-1]: key for key in known_keys()}
    if anywhere := difflib.get_close_matches(name, every_key, 1, 0.8):
        return f"did you mean {every_key[anywhere[0]]}?"
    return f"there are {', '.join(candidates)}"


def _hidden(path: tuple[int | str, ...]) -> bool:
    key = ".".join(str(part) for part in path[:2])
    return key in known_keys() and is_secret(key)


def _dotted(path: tuple[int | str, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part if part.isidentifier() else shown(part)}"
    return text.removeprefix(".")


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else f"{int(value)}"
