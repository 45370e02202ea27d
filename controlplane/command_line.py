"""What every command of `stoker-controlplane` shares: where its settings come from, how it ends, durations.

Called by `__main__` only. Turns errors into exit codes. Never shows a traceback for an error that we raise on
purpose.
"""

import errno
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from controlplane.errors import StokerError
from controlplane.settings import BadSettingsError, LoadedSettings, load

EXIT_CODES = {
    "invalid_input": 2,
    "bad_configuration": 3,
    "data_directory": 4,
    "identity_refused": 4,
    "conflict": 4,
    "backup_file": 4,
    "database_version": 5,
    "unavailable": 5,
    "database_away": 5,
    "database_slow": 5,
    "database_damaged": 5,
    "copy_failed": 5,
    "already_running": 6,
}
EXIT_CODES_HELP = """\b
Exit codes:
  0  fine
  1  failed, for a reason that is none of these
  2  the command line, or a name on it, is wrong
  3  the settings are wrong
  4  the data directory, an identity in it, or a backup cannot be used
  5  the database is away, or of another release
  6  it is running already, or a port is taken
"""

DIRECTORY_OR_FILE = click.Path(path_type=Path)


@dataclass(frozen=True)
class Sources:
    """The options that say where settings come from."""

    config: Path | None
    data_dir: Path | None
    database_url: str | None

    def load(self, hosts: tuple[str, ...] = ()) -> LoadedSettings:
        flags: dict[str, str | tuple[str, ...]]
        flags = {"data_dir": str(self.data_dir or ""), "database.url": self.database_url or "", "server.hosts": hosts}
        loaded = load(self.config, {key: value for key, value in flags.items() if value})
        for note in loaded.notes:
            click.echo(f"note: {note}", err=True)
        return loaded


def with_sources(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command the three options, as one `Sources` in front of its own arguments."""

    @functools.wraps(command)
    def wrapped(config: Path | None, data_dir: Path | None, database_url: str | None, **own: Any) -> None:
        command(Sources(config, data_dir, database_url), **own)

    options = (
        click.option(
            "--data-dir",
            type=DIRECTORY_OR_FILE,
            help="Where identities and SQLite lie. [default: /var/lib/stoker for "
            "root, systemd's state directory for a unit, else the user's own data directory]",
        ),
        click.option(
            "--config",
            type=DIRECTORY_OR_FILE,
            help="The settings file. [default: $STOKER_CONTROLPLANE_CONFIG, else "
            "controlplane.toml in the data directory, else /etc/stoker/controlplane.toml]",
        ),
        click.option(
            "--database-url",
            metavar="URL",
            help="Such as postgresql://user@host/database. [default: SQLite in the data directory]",
        ),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def duration_seconds(_: click.Context, __: click.Parameter, text: str) -> float:
    """What a lifetime on the command line means. "": 0."""
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])|", text)
    if found is None:
        raise click.BadParameter(f"{text[:20]!a} is no duration: write 90s, 30m, 1h or 7d")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]] if text else 0.0


def run_command_line(cli: click.Group, arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    try:
        code = cli.main(arguments, prog_name="stoker-controlplane", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BadSettingsError as error:
        click.echo(str(error), err=True)  # a line a problem, each beginning with where it is
        return EXIT_CODES[error.code]
    except StokerError as error:
        click.echo(f"stoker-controlplane: {' '.join(str(error).splitlines())}", err=True)
        return EXIT_CODES.get(error.code, 1)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        click.echo(f"stoker-controlplane: a port is taken: {error.strerror}; change it in the settings", err=True)
        return EXIT_CODES["already_running"]
    except KeyboardInterrupt:
        return 130
    return code if isinstance(code, int) else 0
