"""`stoker key`: tenants' API keys. A secret is shown once, when it is made."""

import click

from console.cli.confirm import require_terminal, show_answer, show_steps_and_ask
from console.cli.failures import NotFoundFailure
from console.cli.output import Cell, Column, Row, show_json, show_table
from console.cli.parameters import DURATION, output_option, yes_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.clock import utc_now
from console.model import format as fmt
from console.model.answers import KeyRow

_COLUMNS = (
    Column("KEY"),
    Column("TENANT"),
    Column("STATE"),
    Column("EXPIRES", drop=1),
    Column("CREATED", drop=2),
    Column("BY", drop=3),
    Column("NOTE", drop=4, width_max=40),
)


@click.group()
def key() -> None:
    """Make, list and revoke tenants' API keys."""


@key.command()
@click.option("--tenant", required=True, help="Whose.")
@click.option("--lifetime", type=DURATION, default=0.0, help="Such as 90d. Default: until it is revoked.")
@click.option("--note", default="", help="What for.")
@output_option
@pass_session
def create(session: Session, tenant: str, lifetime: float, note: str, output: str) -> None:
    """Make a key. Only its secret goes to standard output, now and never again."""
    made = session.ask(lambda client: client.create_key(tenant, lifetime_seconds=lifetime, note=note))
    if output == "json":
        show_json({**shape(made.key), "secret": made.secret})
        return
    until = f"until {fmt.instant(made.key.expires_at)}" if made.key.expires_at else "until it is revoked"
    click.echo(f"Key {fmt.clean(made.key.key_id)} of tenant {fmt.clean(made.key.tenant)}, {until}.", err=True)
    click.echo(made.secret)


@key.command("list")
@click.option("--tenant", default="", help="Only this tenant's.")
@output_option
@pass_session
def list_keys(session: Session, tenant: str, output: str) -> None:
    """List keys, never their secrets."""
    keys = session.ask(lambda client: client.list_keys(tenant=tenant))
    if output == "json":
        show_json([shape(each) for each in keys])
        return
    empty = "No key yet. Make one: stoker key create --tenant TENANT"
    show_table(_COLUMNS, [_row(each) for each in keys], empty=empty)


@key.command()
@click.argument("key_id", metavar="KEY")
@yes_option
@output_option
@pass_session
def revoke(session: Session, key_id: str, yes: bool, output: str) -> None:
    """Revoke KEY: its requests are refused from then on. There is no undo."""
    if not yes:
        require_terminal()
        found = next((each for each in session.ask(lambda client: client.list_keys()) if each.key_id == key_id), None)
        if found is None:
            raise NotFoundFailure(f"There is no key {key_id!r}. `stoker key list` lists them.")
        note = f" ({found.note})" if found.note else ""
        step = f"Key {key_id} of tenant {found.tenant}{note} stops working; requests already running finish."
        show_steps_and_ask((step,), f"Revoke key {key_id}?")
    show_answer(session.ask(lambda client: client.revoke_key(key_id)), dry_run=False, output=output)


def _row(each: KeyRow) -> Row:
    return (
        each.key_id,
        each.tenant,
        _state(each),
        fmt.instant(each.expires_at) if each.expires_at else "never",
        fmt.instant(each.created_at),
        fmt.text_or_unknown(each.created_by),
        each.note,
    )


def _state(each: KeyRow) -> Cell:
    if each.revoked_at is not None:
        return Cell("revoked", "dim")
    if each.expires_at is not None and each.expires_at <= utc_now():
        return Cell("expired", "dim")
    return Cell("valid", "green")
