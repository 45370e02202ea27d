"""`stoker console`: opens the screen. The only command that loads Textual, and only when it is run."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.failures import CommandFailure, NotFoundFailure, UnreachableFailure
from console.cli.parameters import SIZE
from console.cli.session import Session, pass_session

if TYPE_CHECKING:
    from console.app import StokerApp
    from console.command_words import Order
    from console.settings import Credentials


@click.command()
@click.option("--read-only", is_flag=True, help="Show, but do nothing.")
@click.option("--theme", help="A theme by name.")
@click.option(
    "--screenshot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw one screen into this SVG file and leave; no terminal is needed.",
)
@click.option(
    "--at",
    metavar="WORDS",
    help='With --screenshot: which screen, by what one would write after `:` in the console, such as "engine NAME", '
    '"node NAME", "model NAME", events or help. Actions are shown, never done.  [default: the first screen]',
)
@click.option("--size", type=SIZE, default="120x40", show_default=True, help="Of the screenshot, in cells.")
@pass_session
def console(
    session: Session,
    read_only: bool,
    theme: str | None,
    screenshot: Path | None,
    at: str | None,
    size: tuple[int, int],
) -> None:
    """Open the console in this terminal."""
    if at is not None and screenshot is None:
        raise click.UsageError("--at says which screen to draw: it needs --screenshot FILE.")
    _require_textual()
    order = _order(at) if at is not None else None
    app = _app(session, session.credentials(), read_only, theme)
    if screenshot is None:
        app.run()
        return
    session.ask(lambda client: client.server())  # a picture needs a fleet: fail as every other command does
    _draw(app, screenshot, size, order)
    click.echo(f"Wrote {screenshot}.", err=True)


def _require_textual() -> None:
    try:
        import textual  # noqa: F401 - only whether it is there
    except ModuleNotFoundError as error:
        if error.name != "textual":
            raise
        raise CommandFailure("The console needs Textual: pip install 'stoker[console]'") from error


def _order(words: str) -> "Order":
    from console.command_words import CommandError, parse

    try:
        order = parse(words)
    except CommandError as error:
        raise click.BadParameter(str(error), param_hint="--at") from error
    if order is None or order.command.name == "quit":
        raise click.BadParameter("That leads to no screen.", param_hint="--at")
    return order


def _draw(app: "StokerApp", path: Path, size: tuple[int, int], order: "Order | None") -> None:
    from console.screens.picture import take_screenshot
    from console.screens.routes import NotFoundError

    try:
        asyncio.run(take_screenshot(app, path, size, order))
    except NotFoundError as error:
        raise NotFoundFailure(str(error)) from error
    except TimeoutError as error:
        raise UnreachableFailure("The control plane answers, but sent no fleet to draw in time.") from error
    except OSError as error:
        raise CommandFailure(f"Cannot write {path}: {error.strerror}.") from error


def _app(session: Session, credentials: "Credentials", read_only: bool, theme: str | None) -> "StokerApp":
    from console.app import StokerApp
    from console.link.client import OperatorClient

    return StokerApp(
        lambda: OperatorClient.open(credentials, timeout_seconds=session.timeout_seconds),
        credentials_name=credentials.name,
        read_only=read_only,
        theme=theme,
    )
