"""`stoker-controlplane`, from its command line to what lies on disk."""

import asyncio
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import jwt
import pytest

from controlplane.__main__ import cli
from controlplane.command_line import EXIT_CODES_HELP, run_command_line
from controlplane.fleet.history import AuditEntry
from controlplane.identity import join_tokens
from controlplane.identity.authority import Authority
from controlplane.storage.database import Database


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("STOKER_CONTROLPLANE_") or name == "STATE_DIRECTORY":
            monkeypatch.delenv(name)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    assert run("init", "--host", "cp.example", data=tmp_path / "data") == 0
    return tmp_path / "data"


def run(*arguments: str, data: Path) -> int:
    return run_command_line(cli, [*arguments, "--data-dir", str(data)])


def audit(data: Path) -> list[AuditEntry]:
    async def read() -> list[AuditEntry]:
        database = Database.open(f"sqlite:///{data / 'stoker.db'}")
        try:
            return await database.run(lambda uow: uow.audit.list())
        finally:
            await database.close()

    return asyncio.run(read())


def test_init_says_what_it_did_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init", "--host", "cp.example", data=tmp_path / "data") == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"stoker-controlplane run --data-dir {tmp_path / 'data'}" in shown.err
    assert f"stoker --credentials {tmp_path / 'data' / 'operators' / 'admin'} status" in shown.err
    assert tomllib.loads((tmp_path / "data" / "controlplane.toml").read_text()) == {"server": {"hosts": ["cp.example"]}}


def test_init_twice(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = (data / "operators" / "admin" / "key.pem").read_bytes()
    assert run("init", data=data) == 0
    assert "there is nothing to do" in capsys.readouterr().err
    assert (data / "operators" / "admin" / "key.pem").read_bytes() == key


def test_init_does_not_keep_flags_when_there_is_a_settings_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("")
    assert run("init", "--config", str(config), "--host", "cp.example", data=tmp_path / "data") == 0
    assert f"are not kept: {config} has the settings" in capsys.readouterr().err
    assert not (tmp_path / "data" / "controlplane.toml").exists()


def test_init_over_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").touch()
    assert run("init", data=tmp_path) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "name an empty or a new directory with --data-dir" in line


def test_a_host_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init", "--host", "cp.example:7443", data=tmp_path / "data") == 3
    assert capsys.readouterr().err.startswith("--host: server.hosts: host 'cp.example:7443' is not valid")
    assert not (tmp_path / "data").exists()


def test_a_join_token(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("token", "create", "--lifetime", "30m", "--name", "gpu-1", "--replace", data=data) == 0
    token = capsys.readouterr().out.strip()
    prefix, token_id, _, pinned = token.split(".")
    assert prefix == join_tokens.PREFIX
    import base64

    assert base64.urlsafe_b64decode(pinned + "=" * (-len(pinned) % 4)) == Authority.load(data / "identity").ca_der
    entry = audit(data)[-1]
    assert (entry.action, entry.target, entry.peer) == ("create_join_token", token_id, "offline")
    assert entry.actor.startswith("operator:")
    assert "@" in entry.actor


def test_an_api_key(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("key", "create", "--tenant", "acme", "--lifetime", "1d", "--note", "for the demo", data=data) == 0
    shown = capsys.readouterr()
    claims = jwt.decode(shown.out.strip(), options={"verify_signature": False})
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == ("stoker", "acme", 86_400)
    assert claims["jti"] in shown.err


def test_an_operator(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("operator", "create", "ann", "--role", "viewer", data=data) == 0
    assert capsys.readouterr().out.strip() == str(data / "operators" / "ann")
    out = tmp_path / "for-ben"
    assert run("operator", "create", "ben", "--role", "admin", "--out", str(out), data=data) == 0
    for directory, name in ((data / "operators" / "ann", "ann"), (out, "ben")):
        context = tomllib.loads((directory / "context.toml").read_text())
        assert context == {"server": "cp.example:7443", "name": name}
        assert (directory / "key.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["key", "create", "--tenant", "A B"], 2),
        (["token", "create", "--replace"], 2),
        (["token", "create", "--lifetime", "1s"], 2),
        (["token", "create", "--lifetime", "soon"], 2),
        (["operator", "create", "../x", "--role", "viewer"], 2),
        (["operator", "create", "ann", "--role", "root"], 2),
        (["operator", "create", "ann"], 2),
        (["nonsense"], 2),
        (["check-config", "--config", "/does/not/exist.toml"], 3),
        (["token", "create", "--database-url", "mysql://h/d"], 3),
        (["token", "create", "--database-url", "postgresql://u@127.0.0.1:1/d"], 5),
        (["token", "create", "--database-url", "sqlite:////tmp/stoker-there-is-no-such-file.db"], 5),
    ],
)
def test_what_is_wrong_has_a_code_and_no_traceback(
    data: Path, arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(*arguments, data=data) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.strip()
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("command", [["run"], ["token", "create"], ["key", "create", "--tenant", "a"]])
def test_a_directory_that_was_never_initialised(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*command, data=tmp_path) == 4
    assert f"run `stoker-controlplane init --data-dir {tmp_path}`" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_check_config(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check-config", data=data) == 0
    shown = capsys.readouterr().out
    assert 'hosts = ["cp.example"]' in shown
    assert f"# {data / 'controlplane.toml'}:4" in shown
    (data / "controlplane.toml").write_text("[server]\nprot = 1\n[gateway]\nport = 'x'\n")
    assert run("check-config", data=data) == 3
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        f"{data / 'controlplane.toml'}:2:",
        f"{data / 'controlplane.toml'}:4:",
    ]


def test_migrate(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("migrate", data=data) == 0
    assert capsys.readouterr().err.endswith(", as it was\n")


def test_every_command_explains_itself_and_its_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def commands(group: click.Group, path: list[str]) -> list[tuple[list[str], click.Command]]:
        found: list[tuple[list[str], click.Command]] = []
        for name, command in group.commands.items():
            inner = commands(command, [*path, name]) if isinstance(command, click.Group) else []
            found += [([*path, name], command), *inner]
        return found

    for path, command in commands(cli, []):
        assert command.help, path
        assert all(option.help for option in command.params if isinstance(option, click.Option)), path
        if not isinstance(command, click.Group) and path != ["version"]:
            assert run_command_line(cli, [*path, "--help"]) == 0
            shown = capsys.readouterr().out
            for line in EXIT_CODES_HELP.splitlines()[2:]:
                assert line.strip() in shown, path


def test_the_program_itself() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "controlplane", "version"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("stoker-controlplane ")
