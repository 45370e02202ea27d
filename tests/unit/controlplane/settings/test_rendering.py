"""The settings in force are shown as a file that means the same."""

import tomllib
from pathlib import Path

from controlplane.settings import config_text, load, render

PREFIX = "STOKER_CONTROLPLANE_"


def test_what_is_shown_can_be_loaded_again(tmp_path: Path) -> None:
    environ = {
        "STATE_DIRECTORY": str(tmp_path),
        f"{PREFIX}SERVER__HOSTS": "a,b",
        f"{PREFIX}FLEET__LOST_SECONDS": "77.5",
    }
    loaded = load(environ=environ)
    shown = render(loaded)
    (tmp_path / "again.toml").write_text(shown)
    again = load(tmp_path / "again.toml", environ={})
    assert again.settings == loaded.settings
    assert f'data_dir = "{tmp_path}"' in shown
    assert f"# environment {PREFIX}FLEET__LOST_SECONDS, SIGHUP re-reads it" in shown
    assert "# envoy_path is not set" in shown


def test_secrets_are_masked(tmp_path: Path) -> None:
    environ = {"STATE_DIRECTORY": str(tmp_path), f"{PREFIX}DATABASE__URL": "postgresql://u:geheim@h/d"}
    assert 'url = "postgresql://u:****@h/d"' in render(load(environ=environ))
    environ |= {f"{PREFIX}DATABASE__URL": "postgresql://u@h/d", f"{PREFIX}DATABASE__PASSWORD": "geheim"}
    shown = render(load(environ=environ))
    assert "geheim" not in shown
    assert 'password = "****"' in shown


def test_text_for_a_new_file() -> None:
    assert config_text({"server.hosts": (), "database.url": None}) == ""
    text = config_text({"server.hosts": ("a", 'b"'), "database.url": "postgresql://u:p@h/d"})
    assert tomllib.loads(text) == {"server": {"hosts": ["a", 'b"']}, "database": {"url": "postgresql://u:p@h/d"}}
