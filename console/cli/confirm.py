"""Show an action's steps; for a destructive one, ask before it is done. Called by every command that changes something.

Questions and previews go to stderr, what was done to stdout, so that a pipe gets only the outcome.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from console.cli.failures import CommandFailure
from console.cli.output import show_json, show_line
from console.cli.session import Session
from console.cli.shapes import shape
from console.model.answers import ActionAnswer
from console.model.format import clean

if TYPE_CHECKING:
    from console.link.client import OperatorClient

Act = Callable[["OperatorClient", bool], Awaitable[ActionAnswer]]  # the client, and whether it is a dry run


def run_action(
    session: Session, act: Act, *, dry_run: bool, output: str, question: str = "", yes: bool = False
) -> None:
    """Carries out one action. With a `question`, its steps are shown and the operator is asked first, unless `yes`."""
    if question and not yes and not dry_run:
        require_terminal()
        show_steps_and_ask(session.ask(lambda client: act(client, True)).steps, question)
    show_answer(session.ask(lambda client: act(client, dry_run)), dry_run=dry_run, output=output)


def require_terminal() -> None:
    if not is_terminal():
        raise click.UsageError(
            "This needs a confirmation and there is no terminal to ask on. Add --yes to do it anyway."
        )


def is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def show_steps_and_ask(steps: tuple[str, ...], question: str) -> None:
    for number, step in enumerate(steps, 1):
        click.echo(f"  {number}. {clean(step)}", err=True)
    if not click.confirm(clean(question), default=False, err=True):
        raise CommandFailure("Not confirmed; nothing was changed.")


def show_answer(answer: ActionAnswer, *, dry_run: bool, output: str) -> None:
    if output == "json":
        show_json({**shape(answer), "dry_run": dry_run})
        return
    if dry_run:
        click.echo("Would do (nothing was changed):" if answer.changed else "Would change nothing:", err=True)
    elif not answer.changed:
        click.echo("It was so already; nothing was changed.", err=True)
    for step in answer.steps:
        show_line(step)
