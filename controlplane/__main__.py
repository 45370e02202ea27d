"""`stoker-controlplane`: makes a data directory, runs the daemon, and does offline what an operator cannot do yet.

The entry point; nothing calls it. The offline commands (`controlplane.cli`) work on the data directory and the database
themselves, beside a running control plane or without. Never decides anything: every command loads settings and calls one
service.
"""

import asyncio
import functools
import sys

import click

from controlplane import __version__, telemetry
from controlplane.cli.backup import backup, restore
from controlplane.cli.identities import key, operator, token
from controlplane.cli.local_operator import local_operator
from controlplane.clock import SystemClock
from controlplane.command_line import EXIT_CODES_HELP, Sources, run_command_line, with_sources
from controlplane.identity.layout import DataLayout
from controlplane.identity.marker import require_initialised
from controlplane.services.initialise import FIRST_OPERATOR, initialise
from controlplane.settings import config_text, render
from controlplane.storage.migrate import current, head, upgrade


@click.group(epilog=EXIT_CODES_HELP)
def cli() -> None:
    """The control plane of a fleet of GPUs that serve LLMs.

    First `init`, then `run`. Settings come from a TOML file, from STOKER_CONTROLPLANE_<GROUP>__<KEY> in the environment
    and from flags; later ones win. `check-config` shows what is in force, and where it comes from.
    """


@cli.command(epilog=EXIT_CODES_HELP)
@with_sources
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="A name or address by which nodes and operators reach this machine; can be given again.",
)
def init(sources: Sources, hosts: tuple[str, ...]) -> None:
    """Make the data directory: database, local CA, certificates, the first operator's credentials.

    Run it as the user that will run the control plane. --host and --database-url are kept in controlplane.toml in the
    data directory, unless there is a settings file already. An interrupted `init` can be run again.
    """
    loaded = sources.load(hosts)
    text = ""
    if loaded.config_file is None:
        text = config_text({"server.hosts": hosts, "database.url": sources.database_url})
    elif hosts or sources.database_url:
        click.echo(f"note: --host and --database-url are not kept: {loaded.config_file} has the settings", err=True)
    done = asyncio.run(
        initialise(
            loaded.settings,
            __version__,
            local_operator(),
            SystemClock(),
            functools.partial(click.echo, err=True),
            text,
        )
    )
    root = done.layout.root
    if not done.changed:
        click.echo(f"{root} was initialised by this release already: there is nothing to do", err=True)
        return
    click.echo(
        f"\nNext:\n"
        f"  stoker-controlplane run --data-dir {root}\n"
        f"  stoker-controlplane token create --data-dir {root}        for a node to join with\n"
        f"  stoker-controlplane key create --tenant NAME --data-dir {root}        for a client\n"
        f"  stoker --credentials {done.layout.operator(FIRST_OPERATOR)} status",
        err=True,
    )


@cli.command(epilog=EXIT_CODES_HELP)
@with_sources
def run(sources: Sources) -> None:
    """Run the control plane until SIGTERM or SIGINT, which drain it. SIGHUP re-reads the settings that can change."""
    from controlplane.bootstrap import serve

    settings = sources.load().settings
    require_initialised(DataLayout(settings.data_dir))
    telemetry.configure(settings.logs.format, settings.logs.level)
    sys.exit(asyncio.run(serve(settings, lambda: sources.load().settings)))


@cli.command("check-config", epilog=EXIT_CODES_HELP)
@with_sources
def check_config(sources: Sources) -> None:
    """Explain every error in the settings; without any, print those in force and where each comes from.

    Every setting can come from the environment: gateway.port is STOKER_CONTROLPLANE_GATEWAY__PORT. Lists are written
    with commas, and an empty variable counts as not set. Secrets are not printed.
    """
    click.echo(render(sources.load()))


@cli.command(epilog=EXIT_CODES_HELP)
@with_sources
def migrate(sources: Sources) -> None:
    """Bring the database to this release's schema. Data stays. Stop the control plane first."""
    url = sources.load().settings.database_url
    before = current(url)
    upgrade(url)
    click.echo(f"the database is at {head()}{', as it was' if before == head() else ''}", err=True)


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(f"stoker-controlplane {__version__}")


for offline in (token, operator, key, backup, restore):
    cli.add_command(offline)


def main() -> None:
    """What the entry point calls."""
    sys.exit(run_command_line(cli, sys.argv[1:]))


if __name__ == "__main__":
    main()
