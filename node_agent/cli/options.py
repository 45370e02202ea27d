"""Options that several commands share, and their checks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from node_agent.settings import checked_address, checked_host, checked_name

F = TypeVar("F", bound=Callable[..., Any])


def configuration(command: F) -> F:
    """--config and --state-dir."""
    command = click.option(
        "--config", type=click.Path(path_type=Path), help="Settings file. [default: /etc/stoker/agent.toml]"
    )(command)
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        help="Where the agent keeps its identity and state. [default: /var/lib/stoker-agent, or the user's own]",
    )(command)


def output(command: F) -> F:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="Form of output.",
    )(command)


def given(**flags: Any) -> dict[str, Any]:
    """Only what was given, by dotted key: `node__name=…` is `node.name`."""
    return {key.replace("__", "."): value for key, value in flags.items() if value is not None and value != ()}


def _checked(name: str, check: Callable[[str], Any]) -> Callable[[str], Any]:
    """An option's type, from a function that raises ValueError with the rule."""

    def convert(value: str) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    convert.__name__ = name
    return convert


def name_of(kind: str) -> Callable[[str], Any]:
    return _checked("name", lambda value: checked_name(kind, value))


def address(default_port: int) -> Callable[[str], Any]:
    return _checked("host:port", lambda value: checked_address(value, default_port))


def _label(value: str) -> tuple[str, str]:
    key, equals, text = value.partition("=")
    if not equals or not key:
        raise ValueError(f"label {value[:80]!a} is not valid: write key=value")
    return key, text


HOST = _checked("host", checked_host)
LABEL = _checked("key=value", _label)
