"""`stoker-controlplane`: makes a data directory, runs the daemon, and does offline what an operator cannot do yet.

The entry point; nothing calls it. The offline commands work on the data directory and the database themselves, beside a
running control plane or without. Never decides anything: every command loads settings and calls one service.
"""

import asyncio
import functools
import getpass
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from controlplane import __version__, telemetry
from controlplane.clock import SystemClock
from controlplane.command_line import (
    DIRECTORY_OR_FILE,
    EXIT_CODES_HELP,
    Sources,
    duration_seconds,
    run_command_line,
    with_sources,
)
from controlplane.fleet.access import OperatorIdentity, Role
from controlplane.identity import certificates
from controlplane.identity.api_keys import ApiKeySigner
from controlplane.identity.authority import Authority
from controlplane.identity.layout import DataLayout
from controlplane.identity.marker import require_initialised
from controlplane.identity.operator_files import write_operator
from controlplane.services.create_join_token import CreateJoinToken
from controlplane.services.create_key import CreateKey
from controlplane.services.create_operator import CreateOperator, checked_operator_name
from controlplane.services.initialise import FIRST_OPERATOR, initialise
from controlplane.settings import Settings, config_text, render
from controlplane.storage.database import Database
from controlplane.storage.migrate import current, head, require_current, upgrade


def _local_operator() -> OperatorIdentity:
    """Who works on this machine: with an @ in the name, so that nobody takes it for an operator's."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        user = f"uid-{os.getuid()}"
    return OperatorIdentity(f"{user}@{socket.gethostname()}", Role.ADMIN, "offline")


def _offline(settings: Settings, work: Callable[[Database, DataLayout], Awaitable[None]]) -> None:
    """Do something to an initialised installation, beside a running control plane or without."""
    layout = DataLayout(settings.data_dir)
    require_initialised(layout)
    require_current(settings.database_url)

    async def opened() -> None:
        database = Database.open(settings.database_url)
        try:
            await work(database, layout)
        finally:
            await database.close()

    asyncio.run(opened())


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
            _local_operator(),
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


@cli.group()
def token() -> None:
    """Join tokens, made on this machine."""


@token.command("create", epilog=EXIT_CODES_HELP)
@with_sources
@click.option(
    "--lifetime",
    callback=duration_seconds,
    default="",
    metavar="DURATION",
    help="90s, 30m, 1h, 7d. [default: 1h, or the setting]",
)
@click.option("--name", default="", help="Only a node of this name can use it. [default: any]")
@click.option("--replace", is_flag=True, help="With --name: the node takes the place of the one that is there.")
@click.option("--simulator", is_flag=True, help="For `stoker-agent simulate`, which speaks for many nodes.")
def token_create(sources: Sources, lifetime: float, name: str, *, replace: bool, simulator: bool) -> None:
    """Print a token with which one node can join, once."""
    settings = sources.load().settings

    async def create(database: Database, layout: DataLayout) -> None:
        authority = Authority.load(layout.identity)
        service = CreateJoinToken(
            database, authority, SystemClock(), lambda: settings.fleet.join_token_lifetime_seconds
        )
        made = await service(_local_operator(), lifetime, name, replace=replace, simulator=simulator)
        click.echo(f"good once, until {made.expires_at:%Y-%m-%d %H:%M:%S} UTC", err=True)
        click.echo(made.token)

    _offline(settings, create)


@cli.group()
def operator() -> None:
    """Operators, made on this machine."""


@operator.command("create", epilog=EXIT_CODES_HELP)
@click.argument("name")
@with_sources
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), required=True, help="Each includes those before."
)
@click.option(
    "--out", type=DIRECTORY_OR_FILE, help="The directory to make. [default: operators/NAME in the data directory]"
)
def operator_create(sources: Sources, name: str, role: str, out: Path | None) -> None:
    """Make an operator's credentials, as a directory to hand over, and print where it is.

    An operator who exists already gets new ones.
    """
    settings = sources.load().settings
    checked_operator_name(name)  # before it names a directory
    out = None if out is None else out.absolute()

    async def create(database: Database, layout: DataLayout) -> None:
        authority = Authority.load(layout.identity)
        key = certificates.new_key()
        service = CreateOperator(
            database, authority, SystemClock(), lambda: settings.fleet.operator_certificate_lifetime_seconds
        )
        issued = await service(_local_operator(), name, role, certificates.request_pem(key, name))
        directory = layout.operator(name) if out is None else out
        server, ca_pem = settings.operator_address, authority.ca_pem
        write_operator(
            directory, server=server, name=name, key=key, certificate_pem=issued.certificate_pem, ca_pem=ca_pem
        )
        click.echo(f"good until {issued.not_after:%Y-%m-%d}; its key.pem is a secret", err=True)
        click.echo(directory)

    _offline(settings, create)


@cli.group()
def key() -> None:
    """API keys, made on this machine."""


@key.command("create", epilog=EXIT_CODES_HELP)
@with_sources
@click.option("--tenant", required=True, help="Whose requests the key is for.")
@click.option(
    "--lifetime",
    callback=duration_seconds,
    default="",
    metavar="DURATION",
    help="90s, 30m, 1h, 7d. [default: until revoked]",
)
@click.option("--note", default="", help="What the key is for.")
def key_create(sources: Sources, tenant: str, lifetime: float, note: str) -> None:
    """Print a new API key. It is kept nowhere: it is shown this once."""

    async def create(database: Database, layout: DataLayout) -> None:
        service = CreateKey(database, ApiKeySigner.load(layout.api_keys), SystemClock())
        made = await service(_local_operator(), tenant, lifetime, note)
        click.echo(f"key {made.key.key_id} of tenant {made.key.tenant}", err=True)
        click.echo(made.secret)

    _offline(sources.load().settings, create)


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(f"stoker-controlplane {__version__}")


def main() -> None:
    """What the entry point calls."""
    sys.exit(run_command_line(cli, sys.argv[1:]))


if __name__ == "__main__":
    main()
