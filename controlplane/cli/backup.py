"""`stoker-controlplane backup` and `restore`: everything that cannot be made again, in one file, and back.

Called by `__main__`. Translates only; the work is in `services.write_backup` and `services.restore_backup`.
"""

import functools
import sys
from dataclasses import replace
from pathlib import Path

import click

from controlplane import __version__
from controlplane.cli.local_operator import local_operator
from controlplane.clock import SystemClock
from controlplane.command_line import DIRECTORY_OR_FILE, EXIT_CODES_HELP, Sources, with_sources
from controlplane.services.restore_backup import Restored, restore_backup
from controlplane.services.write_backup import write_backup
from controlplane.settings import masked_url

_FILE = click.argument("file", type=DIRECTORY_OR_FILE)
_tell = functools.partial(click.echo, err=True)


def _show_progress(share: float) -> None:
    if sys.stderr.isatty():
        click.echo(f"\rcopying the database  {share:4.0%}", nl=share >= 1, err=True)


@click.command(epilog=EXIT_CODES_HELP)
@_FILE
@with_sources
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option("--identity-only", is_flag=True, help="CAs, keys, operators and settings, without the database.")
def backup(sources: Sources, file: Path, *, force: bool, identity_only: bool) -> None:
    """Save the database, CAs, keys and settings in FILE, while the control plane goes on.

    FILE holds private keys: whoever has it can be this control plane. Only its owner can read it; keep it on another
    machine, encrypted. PostgreSQL is saved by pg_dump, which must be on the PATH.
    """
    loaded = sources.load()
    saved = write_backup(
        loaded.settings,
        __version__,
        file.absolute(),
        SystemClock(),
        _show_progress,
        identity_only=identity_only,
        replace=force,
    )
    what = f"schema {saved.schema}" if saved.schema else "without the database"
    _tell(f"saved {saved.parts_count} parts, {what}, {saved.size_bytes / 1e6:.1f} MB; it holds private keys")
    if loaded.config_file is not None and loaded.config_file.parent != loaded.settings.data_dir:
        _tell(f"note: {loaded.config_file} is not in the data directory and not in the backup")
    click.echo(saved.file)


@click.command(epilog=EXIT_CODES_HELP)
@_FILE
@with_sources
@click.option("--identity-only", is_flag=True, help="CAs, keys, operators and settings; the database stays.")
def restore(sources: Sources, file: Path, *, identity_only: bool) -> None:
    """Bring back what `backup` saved in FILE. Stop the control plane first.

    Nothing is touched before all of FILE was checked. What was there is moved to before-restore-TIME in the data directory,
    never deleted. A PostgreSQL database is restored into an empty one: name it with --database-url. Read the notes that it
    prints: a restored control plane has forgotten what happened since.
    """
    settings = sources.load().settings
    used_now = replace(sources, database_url=None).load().settings.database_url
    restored = restore_backup(
        settings, (used_now,), file.absolute(), local_operator(), SystemClock(), _tell, identity_only=identity_only
    )
    _tell(f"restored        {settings.data_dir}")
    if restored.aside is not None:
        _tell(f"moved aside     {restored.aside}")
    if restored.leader_epoch:
        _tell(f"leader epoch    {restored.leader_epoch}, so that agents obey")
    named = replace(sources, database_url=None).load().settings.database_url
    if named != settings.database_url:
        _tell(f"note: the settings name {masked_url(named)}; run with --database-url, or change database.url in them")
    if restored.leader_epoch:
        _tell(_notes(restored))


def _notes(restored: Restored) -> str:
    since = f"{restored.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"
    if restored.keys_kept is None:
        keys = (
            "  API keys that were revoked since count again: revoke them again\n"
            "  API keys that were made since still work, and cannot be revoked: wait for their end, or change the signing key\n"
        )
    else:
        keys = f"  API keys are as the database before knew them ({restored.keys_kept} were taken over from it)\n"
    return (
        f"\nWhat happened since {since} is forgotten. Before clients come back:\n{keys}"
        "  operators that were revoked or renewed since: make their credentials anew\n"
        "  nodes that joined since are refused: they join again with a new token\n"
        "  engines that were placed since go on, and are not touched: place them again, or stop them on their nodes"
    )
