"""The command line of `stoker-agent`. Every error becomes one clear message and a documented exit code here."""

from typing import Any

import click

from node_agent import __version__
from node_agent.cli import exit_codes
from node_agent.cli.doctor import doctor
from node_agent.cli.join import join
from node_agent.cli.probe import probe
from node_agent.cli.run import run
from node_agent.cli.simulate import simulate
from node_agent.cli.status import status
from node_agent.errors import AgentError


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AgentError as error:
            click.echo(f"stoker-agent: {error}", err=True)
            ctx.exit(exit_codes.exit_code(error))


@click.group(cls=_Commands, epilog=exit_codes.HELP, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run this node's engines for a Stoker control plane."""


@main.command()
def version() -> None:
    """Show the agent's version."""
    click.echo(f"stoker-agent {__version__}")


main.add_command(doctor)
main.add_command(join)
main.add_command(probe)
main.add_command(run)
main.add_command(simulate)
main.add_command(status)

if __name__ == "__main__":
    main()
