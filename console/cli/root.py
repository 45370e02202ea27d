"""The `stoker` command: global options and the list of commands. Called by `console.__main__`."""

from pathlib import Path

import click

from console.cli import (
    audit,
    console_command,
    engine_commands,
    engines,
    events,
    history,
    jobs,
    key,
    lease,
    lifecycle,
    models,
    node,
    node_commands,
    nodes,
    operator_command,
    place,
    placements,
    sql,
    status,
    version,
)
from console.cli.failures import EXIT_CODES_HELP
from console.cli.session import Session


class _InOrder(click.Group):
    """Lists commands in the order in which an operator needs them, not by letter."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    epilog=EXIT_CODES_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory with context.toml, ca.pem, cert.pem and key.pem. Else $STOKER_CREDENTIALS, else the user's own "
    "configuration directory, stoker/credentials.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1, max=3600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for an answer of the control plane.",
)
@click.version_option(version.own_version(), "--version", prog_name="stoker", message="%(prog)s %(version)s")
@click.pass_context
def stoker(context: click.Context, credentials: Path | None, timeout: float) -> None:
    """See and move the GPUs that serve your models.

    Every command that shows something takes -o json. Start with `stoker status`, or open the screen: `stoker console`.
    """
    context.obj = Session(credentials, timeout)


for command in (
    status.status,
    console_command.console,
    nodes.nodes,
    engines.engines,
    engines.engine,
    models.models,
    placements.placements,
    events.events,
    history.history,
    sql.sql,
    audit.audit,
    jobs.jobs,
    place.place,
    lifecycle.remove,
    lifecycle.drain,
    lifecycle.resume,
    engine_commands.restart,
    engine_commands.adapter,
    engine_commands.logs,
    node_commands.probe,
    node_commands.report_interval,
    node.node,
    lease.lease,
    key.key,
    operator_command.operator,
    version.version,
):
    stoker.add_command(command)
