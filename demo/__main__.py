"""`python -m demo`: Stoker on one machine, with real vLLM engines. `make demo` and `make demo-check` call it."""

import sys
from pathlib import Path

import click

from demo.check import check
from demo.run import run


@click.group()
def main() -> None:
    """Stoker on one machine: control plane, gateway, two nodes, two real vLLM engines."""


@main.command("run")
def run_command() -> None:
    """Bring it up under light traffic and open the console; leaving the console stops everything."""
    sys.exit(run())


@main.command("check")
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Draw the console's screens into this directory.",
)
def check_command(pictures: Path | None) -> None:
    """The same without a terminal: forty requests, and one JSON line with what was measured."""
    sys.exit(check(pictures))


if __name__ == "__main__":
    main()
