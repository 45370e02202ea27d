"""Exit codes, and the ways in which a command fails. Called by every module of the command line."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import IO, Any

import click

from console.link.errors import LinkError, LinkErrorKind
from console.model.format import clean_lines

EXIT_CODES_HELP = """\b
Exit codes:
  0  done
  1  failed, or not confirmed
  2  wrong usage; or a confirmation is needed and there is no terminal
  3  not found, or not valid
  4  no credentials, or identity or role refused
  5  the control plane cannot be reached
  6  `audit verify`: the audit was changed
"""


class CommandFailure(click.ClickException):
    """Shown as one line on stderr, without anything that could steer the terminal."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(clean_lines([message])))

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"stoker: {self.message}", file=file, err=file is None)


class NotFoundFailure(CommandFailure):
    """Not found, or not valid."""

    exit_code = 3


class RefusedFailure(CommandFailure):
    """No credentials, or the identity or its role is refused."""

    exit_code = 4


class UnreachableFailure(CommandFailure):
    exit_code = 5


class AuditChangedFailure(CommandFailure):
    """The control plane answered, and what it found is bad."""

    exit_code = 6


_FAILURES: Mapping[LinkErrorKind, type[CommandFailure]] = MappingProxyType(
    {
        "unavailable": UnreachableFailure,
        "away": CommandFailure,
        "refused": RefusedFailure,
        "invalid": NotFoundFailure,
        "not_found": NotFoundFailure,
        "conflict": CommandFailure,
        "internal": CommandFailure,
    }
)


def failure_of(error: LinkError) -> CommandFailure:
    return _FAILURES[error.kind](error.message)
