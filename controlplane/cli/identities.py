"""`stoker-controlplane token`, `operator` and `key`: identities, made on the control plane's own machine.

Called by `__main__`. They work on the data directory and the database themselves, beside a running control plane or without.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from controlplane.cli.local_operator import local_operator
from controlplane.clock import SystemClock
from controlplane.command_line import DIRECTORY_OR_FILE, EXIT_CODES_HELP, Sources, duration_seconds, with_sources
from controlplane.fleet.access import Role
from controlplane.identity import certificates
from controlplane.identity.api_keys import ApiKeySigner
from controlplane.identity.authority import Authority
from controlplane.identity.layout import DataLayout
from controlplane.identity.marker import require_initialised
from controlplane.identity.operator_files import write_operator
from controlplane.services.create_join_token import CreateJoinToken
from controlplane.services.create_key import CreateKey
from controlplane.services.create_operator import CreateOperator, checked_operator_name
from controlplane.settings import Settings
from controlplane.storage.database import Database
from controlplane.storage.migrate import require_current


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


@click.group()
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
        made = await service(local_operator(), lifetime, name, replace=replace, simulator=simulator)
        click.echo(f"good once, until {made.expires_at:%Y-%m-%d %H:%M:%S} UTC", err=True)
        click.echo(made.token)

    _offline(settings, create)


@click.group()
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
        issued = await service(local_operator(), name, role, certificates.request_pem(key, name))
        directory = layout.operator(name) if out is None else out
        server, ca_pem = settings.operator_address, authority.ca_pem
        write_operator(
            directory, server=server, name=name, key=key, certificate_pem=issued.certificate_pem, ca_pem=ca_pem
        )
        click.echo(f"good until {issued.not_after:%Y-%m-%d}; its key.pem is a secret", err=True)
        click.echo(directory)

    _offline(settings, create)


@click.group()
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
        made = await service(local_operator(), tenant, lifetime, note)
        click.echo(f"key {made.key.key_id} of tenant {made.key.tenant}", err=True)
        click.echo(made.secret)

    _offline(sources.load().settings, create)
