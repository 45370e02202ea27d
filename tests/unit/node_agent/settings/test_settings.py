"""Settings: where they come from, who wins, and what each mistake is told."""

import tomllib
from pathlib import Path

import pytest

from node_agent.settings import (
    AgentSettings,
    BadSettingsError,
    checked_address,
    checked_host,
    checked_name,
    default_state_dir,
    load,
    own_settings_path,
    rendered,
)
from node_agent.settings.model import KEYS
from node_agent.settings.sources import PREFIX, from_environment


@pytest.fixture(autouse=True)
def no_system_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from node_agent.settings import loading

    monkeypatch.setattr(loading, "SYSTEM_CONFIG", tmp_path / "absent.toml")


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def problems_of(config: Path | None, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(BadSettingsError) as caught:
        load(config, environ=environ or {})
    return caught.value.problems


def test_flags_win_over_the_environment_over_files_over_what_join_stored(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    kept = {
        "node.name": "from-join",
        "node.region": "from-join",
        "node.zone": "from-join",
        "node.provider": "from-join",
    }
    written(own_settings_path(state_dir), rendered(kept))
    config = written(
        tmp_path / "agent.toml",
        f'state_dir = "{state_dir}"\n[node]\nregion = "from-file"\nzone = "from-file"\nprovider = "from-file"\n',
    )
    environ = {"STOKER_AGENT_NODE__ZONE": "from-env", "STOKER_AGENT_NODE__PROVIDER": "from-env"}
    node = load(config, {"node.provider": "from-flag"}, environ).node
    assert (node.name, node.region, node.zone, node.provider) == ("from-join", "from-file", "from-env", "from-flag")


def test_lists_and_labels_from_the_environment(tmp_path: Path) -> None:
    environ = {
        "STOKER_AGENT_STATE_DIR": str(tmp_path),
        "STOKER_AGENT_NODE__ADVERTISE_HOSTS": "10.0.0.1, Gcp-1.Example",
        "STOKER_AGENT_NODE__LABELS": "rack=7,team=ml=x",
        "STOKER_AGENT_ENGINES__KEEP_ON_STOP": "true",
        "STOKER_AGENT_ENGINES__PORT_FIRST": "",
        "STOKER_AGENT_SERVER__ADDRESS": "cp.example",
    }
    settings = load(environ=environ)
    assert settings.node.advertise_hosts == ("10.0.0.1", "gcp-1.example")
    assert settings.node.labels == {"rack": "7", "team": "ml=x"}
    assert (settings.engines.keep_on_stop, settings.engines.port_first) == (True, 8100)
    assert settings.server.address == "cp.example:7443"


def test_every_problem_is_told_at_once_with_file_line_and_key(tmp_path: Path) -> None:
    config = written(
        tmp_path / "agent.toml",
        '[node]\nname = "Bad_Name"\nregoin = "eu"\n\n[engines]\nport_first = "many"\nport_last = 70000\n[log]\nformat = "xml"\n',
    )
    told = problems_of(config, {"STOKER_AGENT_STATE_DIR": str(tmp_path), "STOKER_AGENT_NODE__NMAE": "x"})
    expected = (
        ("environment STOKER_AGENT_NODE__NMAE: no setting has this name",),
        (f"{config}:3: node.regoin: no setting has this name", "did you mean node.region?"),
        (f"{config}:2: node.name: node name 'Bad_Name' is not valid", "lower-case"),
        (f"{config}:6: engines.port_first: must be a whole number (got 'many')",),
        (f"{config}:7: engines.port_last: must be at most 65535",),
        (f"{config}:9: log.format: must be one of 'auto', 'json' or 'console'",),
    )
    assert len(told) == len(expected)
    for problem, parts in zip(told, expected, strict=True):
        assert all(part in problem for part in parts), problem


def test_ports_in_the_wrong_order_and_a_group_that_is_no_table(tmp_path: Path) -> None:
    config = written(tmp_path / "a.toml", "[engines]\nport_first = 9000\nport_last = 8000\n")
    [problem] = problems_of(config)
    assert "port_last (8000) is below port_first (9000)" in problem
    [problem] = problems_of(written(tmp_path / "b.toml", "node = 5\n"))
    assert "node" in problem


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "there is no such file" in problems_of(tmp_path / "absent.toml")[0]
    assert "line 2" in problems_of(written(tmp_path / "bad.toml", "[node]\nname = \n"))[0]
    latin = tmp_path / "latin.toml"
    latin.write_bytes("# café".encode("latin-1"))
    assert "not UTF-8" in problems_of(latin)[0]


def test_the_state_directory_by_default() -> None:
    assert default_state_dir({"STATE_DIRECTORY": "/var/lib/private/x:/y"}, is_root=True) == Path("/var/lib/private/x")
    assert default_state_dir({}, is_root=True) == Path("/var/lib/stoker-agent")
    assert default_state_dir({}, is_root=False).name == "stoker-agent"


def test_what_join_writes_can_be_read_again() -> None:
    values = {
        "node.name": "gcp-1",
        "node.labels": {"rack": 'a "quoted" \\ \x7f value', "kind/of": "é"},
        "node.advertise_hosts": ("10.0.0.1",),
        "node.zone": "",
        "engines.port_first": 9000,
    }
    assert tomllib.loads(rendered(values)) == {
        "node": {
            "name": "gcp-1",
            "labels": {"rack": 'a "quoted" \\ \x7f value', "kind/of": "é"},
            "advertise_hosts": ["10.0.0.1"],
        },
        "engines": {"port_first": 9000},
    }


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = AgentSettings(state_dir=tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        settings.state_dir = tmp_path


@pytest.mark.parametrize(
    "name", ["", "Gcp-1", "a b", "-a", "a-", "a\x1b[31m", "[red]a[/]", "é", "a" * 64, "a\n", "a_b"]
)
def test_names_that_are_refused_in_a_safe_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=r"node name .* is not valid") as caught:
        checked_name("node name", name)
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


def test_names_hosts_and_addresses_that_pass() -> None:
    assert checked_name("node name", "gcp-1.eu") == "gcp-1.eu"
    assert [checked_host(host) for host in ("A.example", "[::1]", "10.0.0.1")] == ["a.example", "::1", "10.0.0.1"]
    assert checked_address("cp", 7443) == "cp:7443"
    assert checked_address("[::1]:9", 7443) == "[::1]:9"
    assert checked_address("::1", 7443) == "[::1]:7443"


@pytest.mark.parametrize("host", ["", "0.0.0.0", "a b", "stoker-controlplane", "x" * 300, "a:1", "é.example"])  # noqa: S104
def test_hosts_that_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"host|control plane"):
        checked_host(host)


@pytest.mark.parametrize("address", ["", "cp:", "cp:0", "cp:99999", "cp:x", "[::1", "[::1]x", ":1"])
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"address|host"):
        checked_address(address, 7443)


def test_every_setting_has_one_environment_variable(tmp_path: Path) -> None:
    problems: list[str] = []
    names = {f"{PREFIX}{key.upper().replace('.', '__')}": "x" for key in KEYS}
    assert set(from_environment(names, problems)) == set(KEYS)
    assert problems == []
