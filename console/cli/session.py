"""What all commands share: the global options, the operator's credentials, and one way to ask the control plane.

Made by `console.cli.root`, handed to commands by click. gRPC is imported with the first question, so help is fast.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from console.cli.failures import RefusedFailure, failure_of
from console.link.errors import LinkError
from console.settings import Credentials, CredentialsError, load_credentials

if TYPE_CHECKING:
    from console.link.client import OperatorClient

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Session:
    credentials_directory: Path | None
    timeout_seconds: float

    def credentials(self) -> Credentials:
        try:
            credentials = load_credentials(self.credentials_directory, os.environ)
        except CredentialsError as error:
            raise RefusedFailure(str(error)) from error
        for warning in credentials.warnings:
            click.echo(f"stoker: warning: {warning}", err=True)
        return credentials

    def ask(
        self, question: Callable[["OperatorClient"], Awaitable[Answer]], credentials: Credentials | None = None
    ) -> Answer:
        """Opens a client, asks, closes it. A failure of the link ends the command with its exit code."""
        return asyncio.run(self._ask(question, credentials or self.credentials()))

    async def _ask(self, question: Callable[["OperatorClient"], Awaitable[Answer]], credentials: Credentials) -> Answer:
        from console.link.client import OperatorClient

        try:
            async with OperatorClient.open(credentials, timeout_seconds=self.timeout_seconds) as client:
                return await question(client)
        except LinkError as error:
            raise failure_of(error) from error


pass_session = click.make_pass_decorator(Session)
