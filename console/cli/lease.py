"""`stoker lease`: what may be used until when, and at what price. Writes down only; nothing is placed or stopped by it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from console.cli.confirm import run_action
from console.cli.failures import NotFoundFailure
from console.cli.output import Cell, Column, Row, show_json, show_table
from console.cli.parameters import FUTURE_MOMENT, dry_run_option, output_option, yes_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.clock import utc_now
from console.model import format as fmt
from console.model.answers import LeaseRow

Command = TypeVar("Command", bound=Callable[..., Any])

_COLUMNS = (
    Column("LEASE"),
    Column("PROVIDER"),
    Column("REGION", drop=2),
    Column("DEVICES", right=True),
    Column("KIND"),
    Column("ENDS"),
    Column("LEFT"),
    Column("PRICE", right=True, drop=1),
    Column("NODES", drop=4, width_max=30),
    Column("NOTE", drop=5, width_max=30),
    Column("BY", drop=6),
)
_SOON = timedelta(days=14)


@click.group()
def lease() -> None:
    """Leases: the right to use devices until a date."""


def _terms(command: Command) -> Command:
    """The options that say what a lease is."""
    for option in reversed(
        (
            click.option("--region", help="Where. Default: anywhere at that provider."),
            click.option("--node", "nodes", multiple=True, help="Which node it is for; can be given again."),
            click.option("--starts", type=FUTURE_MOMENT, help="From when: 2d, or a date. Default: now."),
            click.option("--price", type=click.FloatRange(min=0), help="For one device and one hour."),
            click.option("--currency", help="Of the price: USD."),
            click.option("--note", help="For people."),
        )
    ):
        command = option(command)
    return command


@lease.command("list")
@click.option("--ended", is_flag=True, help="Also those that are over.")
@output_option
@pass_session
def list_leases(session: Session, ended: bool, output: str) -> None:
    """List leases, the one that ends first at the top."""
    found = session.ask(lambda client: client.leases(ended=ended))
    if output == "json":
        show_json([shape(each) for each in found])
        return
    empty = "No lease is written down. Begin: stoker lease add --provider P --kind KIND --devices N --ends 90d"
    show_table(_COLUMNS, [_row(each, utc_now()) for each in found], empty=empty)


@lease.command()
@click.option("--provider", required=True, help="Whose devices they are.")
@click.option("--kind", required=True, help="The kind of device, as nodes tell it.")
@click.option("--devices", type=click.IntRange(min=1), required=True, help="How many.")
@click.option("--ends", type=FUTURE_MOMENT, required=True, help="Until when: 90d, or a date.")
@_terms
@dry_run_option
@output_option
@pass_session
def add(
    session: Session,
    provider: str,
    kind: str,
    devices: int,
    ends: datetime,
    region: str | None,
    nodes: tuple[str, ...],
    starts: datetime | None,
    price: float | None,
    currency: str | None,
    note: str | None,
    dry_run: bool,
    output: str,
) -> None:
    """Write a new lease down. Reminders come 30, 14, 7, 3 days and 1 day before its end, as events."""
    row = LeaseRow(
        lease_id="",
        provider=provider,
        region=region or "",
        device_kind=kind,
        devices_count=devices,
        nodes=nodes,
        starts_at=starts,
        ends_at=ends,
        price_per_device_hour=price,
        currency=currency or "",
        note=note or "",
        created_at=None,
        created_by="",
    )
    run_action(session, lambda client, dry: client.put_lease(row, dry_run=dry), dry_run=dry_run, output=output)


@lease.command("set")
@click.argument("lease_id", metavar="LEASE")
@click.option("--kind", help="The kind of device, as nodes tell it.")
@click.option("--devices", type=click.IntRange(min=1), help="How many.")
@click.option("--ends", type=FUTURE_MOMENT, help="Until when: 90d from now, or a date.")
@_terms
@dry_run_option
@output_option
@pass_session
def set_lease(
    session: Session,
    lease_id: str,
    kind: str | None,
    devices: int | None,
    ends: datetime | None,
    region: str | None,
    nodes: tuple[str, ...],
    starts: datetime | None,
    price: float | None,
    currency: str | None,
    note: str | None,
    dry_run: bool,
    output: str,
) -> None:
    """Change what is written down of LEASE; what is not given stays as it is."""
    found = next(
        (each for each in session.ask(lambda client: client.leases(ended=True)) if each.lease_id == lease_id), None
    )
    if found is None:
        raise NotFoundFailure(f"There is no lease {lease_id!r}. `stoker lease list --ended` lists them.")
    row = replace(
        found,
        region=found.region if region is None else region,
        device_kind=kind or found.device_kind,
        devices_count=devices or found.devices_count,
        nodes=nodes or found.nodes,
        starts_at=starts or found.starts_at,
        ends_at=ends or found.ends_at,
        price_per_device_hour=found.price_per_device_hour if price is None else price,
        currency=found.currency if currency is None else currency,
        note=found.note if note is None else note,
    )
    run_action(session, lambda client, dry: client.put_lease(row, dry_run=dry), dry_run=dry_run, output=output)


@lease.command()
@click.argument("lease_id", metavar="LEASE")
@click.option("--at", type=FUTURE_MOMENT, help="When: 2d, or a date. Default: now.")
@dry_run_option
@yes_option
@output_option
@pass_session
def end(session: Session, lease_id: str, at: datetime | None, dry_run: bool, yes: bool, output: str) -> None:
    """Let LEASE end earlier, or later, than is written down. `stoker lease set LEASE --ends ...` is the undo."""
    run_action(
        session,
        lambda client, dry: client.end_lease(lease_id, at=at, dry_run=dry),
        dry_run=dry_run,
        output=output,
        question=f"Move the end of lease {lease_id}?",
        yes=yes,
    )


def _row(each: LeaseRow, now: datetime) -> Row:
    price = ""
    if each.price_per_device_hour is not None:
        price = f"{each.price_per_device_hour:g} {each.currency}"
    return (
        each.lease_id,
        each.provider,
        each.region or "any",
        str(each.devices_count),
        each.device_kind,
        fmt.instant(each.ends_at),
        _left(each, now),
        price or fmt.UNKNOWN,
        ", ".join(each.nodes) or "any",
        each.note,
        fmt.text_or_unknown(each.created_by),
    )


def _left(each: LeaseRow, now: datetime) -> Cell:
    if each.ends_at is None:
        return Cell(fmt.UNKNOWN)
    left = each.ends_at - now
    if left <= timedelta(0):
        return Cell("ended", "dim")
    if each.starts_at is not None and each.starts_at > now:
        return Cell("not begun", "dim")
    return Cell(fmt.duration(left.total_seconds()), "bold yellow" if left <= _SOON else "")
