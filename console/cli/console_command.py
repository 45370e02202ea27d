"""`stoker console`: opens the screen. The only command that loads Textual, and only when it is run."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.failures import CommandFailure
from console.cli.parameters import SIZE
from console.cli.session import Session, pass_session

if TYPE_CHECKING:
    from console.app import StokerApp
    from console.settings import Credentials


@click.command()
@click.option("--read-only", is_flag=True, help="Show, but do nothing.")
@click.option("--theme", help="A theme by name.")
@click.option(
    "--screenshot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the first screen into this SVG file and leave; no terminal is needed.",
)
@click.option("--size", type=SIZE, default="120x40", show_default=True, help="Of the screenshot, in cells.")
@pass_session
def console(
    session: Session, read_only: bool, theme: str | None, screenshot: Path | None, size: tuple[int, int]
) -> None:
    """Open the console in this terminal."""
    app = _app(session, session.credentials(), read_only, theme)
    if screenshot is None:
        app.run()
        return
    from console.app import take_screenshot

    session.ask(lambda client: client.server())  # a picture needs a fleet: fail as every other command does
    asyncio.run(take_screenshot(app, screenshot, size))
    click.echo(f"Wrote {screenshot}.", err=True)


def _app(session: Session, credentials: "Credentials", read_only: bool, theme: str | None) -> "StokerApp":
    try:
        from console.app import StokerApp
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("textual"):
            raise
        raise CommandFailure("The console needs Textual: pip install 'stoker[console]'") from error
    from console.link.client import OperatorClient

    return StokerApp(
        lambda: OperatorClient.open(credentials, timeout_seconds=session.timeout_seconds),
        credentials_name=credentials.name,
        read_only=read_only,
        theme=theme,
    )
