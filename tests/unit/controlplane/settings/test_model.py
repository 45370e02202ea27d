"""Defaults, database URLs, and what a SIGHUP can change."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from controlplane.settings import DatabaseSettings, FleetSettings, LogSettings, ServerSettings, Settings, masked_url
from controlplane.settings.model import SettingChange, settings_of

HERE = Settings(data_dir=Path("/data"))


def test_the_defaults_that_others_rely_on() -> None:
    assert (HERE.server.port, HERE.server.enrolment_port, HERE.gateway.port) == (7443, 7444, 8080)
    assert HERE.gateway.host == "127.0.0.1"
    assert not HERE.gateway.insecure
    assert HERE.database_url == "sqlite:////data/stoker.db"
    fleet = HERE.fleet
    seconds = (fleet.report_interval_seconds, fleet.fresh_seconds, fleet.stale_seconds, fleet.lost_seconds)
    assert seconds == (1, 3, 15, 60)


def test_settings_are_frozen_and_know_no_other_names() -> None:
    with pytest.raises(ValidationError):
        HERE.server.port = 1
    with pytest.raises(ValidationError):
        ServerSettings.model_validate({"prot": 1})


@pytest.mark.parametrize(
    ("hosts", "address"),
    [((), "localhost:7443"), (("cp.example", "10.0.0.1"), "cp.example:7443"), (("fd00::1",), "[fd00::1]:7443")],
)
def test_the_address_that_operators_dial(hosts: tuple[str, ...], address: str) -> None:
    assert Settings(data_dir=Path("/data"), server=ServerSettings(hosts=hosts)).operator_address == address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://stoker@db:5432/stoker", "postgresql://stoker:p%40ss%2F%3A@db:5432/stoker"),
        ("postgresql://stoker@a,b/stoker?target=x", "postgresql://stoker:p%40ss%2F%3A@a,b/stoker?target=x"),
        ("postgresql+psycopg://u@[::1]/d", "postgresql+psycopg://u:p%40ss%2F%3A@[::1]/d"),
    ],
)
def test_the_password_gets_into_the_url(url: str, expected: str) -> None:
    database = DatabaseSettings(url=url, password=SecretStr("p@ss/:"))
    assert Settings(data_dir=Path("/data"), database=database).database_url == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:****@h/d"),
        ("postgresql://u:p@ss:word@h:5432/d", "postgresql://u:****@h:5432/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql:///d?host=/run&user=u&password=secret&x=1", "postgresql:///d?host=/run&user=u&password=****&x=1"),
        ("sqlite:////data/stoker.db", "sqlite:////data/stoker.db"),
        ("no url at all", "no url at all"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked_url(url) == shown


def test_a_password_is_not_in_a_repr() -> None:
    assert "geheim" not in repr(DatabaseSettings(password=SecretStr("geheim")))


def test_what_a_sighup_can_change() -> None:
    new = HERE.model_copy(
        update={
            "fleet": FleetSettings(stale_seconds=20),
            "logs": LogSettings(level="debug", format="console"),
            "server": ServerSettings(port=7777),
        }
    )
    diff = Settings.reloadable_diff(HERE, new)
    assert set(diff.reloadable) == {
        SettingChange("fleet.stale_seconds", 15.0, 20.0),
        SettingChange("logs.level", "info", "debug"),
    }
    assert set(diff.needs_restart) == {
        SettingChange("server.port", 7443, 7777),
        SettingChange("logs.format", "json", "console"),
    }
    same = Settings.reloadable_diff(HERE, HERE.model_copy(deep=True))
    assert (same.reloadable, same.needs_restart) == ((), ())


def test_what_is_reloadable_is_what_is_read_live() -> None:
    reloadable = {key for key, _, can_reload in settings_of(HERE) if can_reload}
    assert {key.split(".")[0] for key in reloadable} == {"gateway", "fleet", "history", "logs"}
    assert not reloadable & {"logs.format", "gateway.port", "history.buffer_max", "history.flush_seconds", "data_dir"}
