"""Where credentials are looked for, and what is said when they cannot be used."""

import stat
from pathlib import Path

import pytest

from console.settings import Credentials, CredentialsError, load_credentials, save_credentials

PEM = b"-----BEGIN CERTIFICATE-----\n"
CREDENTIALS = Credentials("stoker.example:7443", PEM + b"ca", PEM + b"cert", PEM + b"key", "ana")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    save_credentials(tmp_path / "c", CREDENTIALS)
    return tmp_path / "c"


def test_what_was_saved_is_loaded_and_private(directory: Path) -> None:
    assert load_credentials(directory, {}) == CREDENTIALS
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}
    assert b"key" not in repr(CREDENTIALS).encode().replace(b"key_pem", b"")


def test_the_order_of_places(tmp_path: Path) -> None:
    default = tmp_path / "config" / "stoker" / "credentials"
    for place, name in ((tmp_path / "given", "given"), (tmp_path / "env", "env"), (default, "default")):
        save_credentials(place, Credentials("h:1", PEM, PEM, PEM, name))
    env = {"STOKER_CREDENTIALS": str(tmp_path / "env"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert load_credentials(tmp_path / "given", env).name == "given"
    assert load_credentials(None, env).name == "env"
    del env["STOKER_CREDENTIALS"]
    assert load_credentials(None, env).name == "default"


def test_a_place_that_was_named_is_the_only_one(directory: Path, tmp_path: Path) -> None:
    env = {"STOKER_CREDENTIALS": str(tmp_path / "nothing"), "XDG_CONFIG_HOME": str(directory)}
    with pytest.raises(CredentialsError, match=r"\$STOKER_CREDENTIALS names .*nothing"):
        load_credentials(None, env)


def test_nothing_is_overwritten(directory: Path) -> None:
    with pytest.raises(FileExistsError):
        save_credentials(directory, CREDENTIALS)


def test_a_key_that_others_can_read_is_warned_of(directory: Path) -> None:
    (directory / "key.pem").chmod(0o640)
    assert load_credentials(directory, {}).warnings[0].endswith(f"chmod 600 {directory / 'key.pem'}")


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("context.toml", "server = ", "not valid TOML"),
        ("context.toml", "server = 'no-port'", "host:port"),
        ("context.toml", "server = 'h:99999'", "host:port"),
        ("context.toml", "server = 7", "host:port"),
        ("context.toml", "server = 'h:1 -x'", "host:port"),
        ("context.toml", "server = 'h:1'\nname = 3", "`name` must be text"),
        ("cert.pem", "nonsense", "not a PEM file"),
        ("key.pem", None, "is missing"),
    ],
)
def test_what_is_wrong_is_named(directory: Path, file: str, content: str | None, complaint: str) -> None:
    (directory / file).unlink()
    if content is not None:
        (directory / file).write_text(content)
    with pytest.raises(CredentialsError, match=complaint) as raised:
        load_credentials(directory, {})
    assert str(directory) in str(raised.value)


def test_addresses_of_ipv6_have_brackets(directory: Path) -> None:
    (directory / "context.toml").write_text('server = "[::1]:7443"\nname = "ana"\n')
    assert load_credentials(directory, {}).server == "[::1]:7443"


def test_names_with_quotes_are_kept_and_control_characters_refused(tmp_path: Path) -> None:
    odd = Credentials("h:1", PEM, PEM, PEM, 'an "odd" \\ name')
    save_credentials(tmp_path / "odd", odd)
    assert load_credentials(tmp_path / "odd", {}) == odd
    with pytest.raises(CredentialsError):
        save_credentials(tmp_path / "bad", Credentials("h:1", PEM, PEM, PEM, "x\x1b[31m"))
