"""`stoker version`: of this program. The control plane's own is in `stoker status`."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import click


def own_version() -> str:
    try:
        return version_of("stoker")
    except PackageNotFoundError:
        return "unknown (run from its sources)"


@click.command()
def version() -> None:
    """Show this program's version."""
    click.echo(f"stoker {own_version()}")
