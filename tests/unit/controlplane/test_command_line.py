"""How a command ends: a line for people and a code for machines."""

import errno

import click
import pytest

from controlplane.command_line import EXIT_CODES, EXIT_CODES_HELP, duration_seconds, run_command_line
from controlplane.errors import (
    AlreadyRunningError,
    ConfigurationError,
    ConflictError,
    DatabaseVersionError,
    IdentityRefusedError,
    InvalidInputError,
    NotFoundError,
    StokerError,
    UnavailableError,
)
from controlplane.identity.files import DataDirectoryError


def ends_with(error: BaseException) -> int:
    @click.group()
    def group() -> None: ...

    @group.command()
    def fail() -> None:
        raise error

    return run_command_line(group, ["fail"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StokerError("x"), 1),
        (NotFoundError("x"), 1),
        (InvalidInputError("x"), 2),
        (click.UsageError("x"), 2),
        (ConfigurationError("x"), 3),
        (DataDirectoryError("x"), 4),
        (IdentityRefusedError("x"), 4),
        (ConflictError("x"), 4),
        (DatabaseVersionError("x"), 5),
        (UnavailableError("x"), 5),
        (AlreadyRunningError("x"), 6),
        (OSError(errno.EADDRINUSE, "Address already in use"), 6),
        (KeyboardInterrupt(), 130),
        (SystemExit(7), 7),
        (SystemExit(None), 0),
    ],
)
def test_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(error) == code
    assert "Traceback" not in capsys.readouterr().err


def test_one_line_and_nothing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    ends_with(UnavailableError("the database is away:\nno route"))
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "stoker-controlplane: the database is away: no route\n")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(errno.EIO, "Input/output error")])
def test_what_nobody_expected_is_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error)):
        ends_with(error)


def test_every_code_is_documented() -> None:
    for code in {0, 1, *EXIT_CODES.values()}:
        assert f"\n  {code}  " in EXIT_CODES_HELP


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800)])
def test_durations(text: str, seconds: float) -> None:
    command = click.Command("x")
    assert duration_seconds(click.Context(command), click.Option(["--x"]), text) == seconds


@pytest.mark.parametrize("text", ["1", "h", "0s", "-1h", "1 h", "1w", "1.5h", "1h\n", "9999999999s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 90s, 30m, 1h or 7d"):
        duration_seconds(click.Context(click.Command("x")), click.Option(["--x"]), text)
