"""The command line: what each mistake is told, and the exit code that scripts see."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node_agent.__main__ import main
from node_agent.cli.exit_codes import exit_code
from node_agent.errors import AgentError
from node_agent.host.instance_lock import InstanceLock
from node_agent.link.problems import CertificateNotTrustedError, ControlPlaneUnreachableError, TokenMalformedError
from tests.fakes.authority import FakeAuthority

TOKEN = FakeAuthority().join_token()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from node_agent.settings import loading

    monkeypatch.setattr(loading, "SYSTEM_CONFIG", tmp_path / "absent.toml")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


def stoker_agent(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


def join(state_dir: Path, *more: str, name: str = "gcp-1", token: str = TOKEN) -> Result:
    place = ("--provider", "gcp", "--region", "europe-west4", "--state-dir", str(state_dir))
    return stoker_agent("join", "--server", "127.0.0.1:1", "--name", name, *place, *more, stdin=token)


def test_version_and_help_with_exit_codes() -> None:
    assert stoker_agent("version").output.startswith("stoker-agent ")
    shown = stoker_agent("--help")
    assert shown.exit_code == 0
    for line in ("4  not joined, or the identity was refused", "5  the control plane cannot be reached"):
        assert line in shown.output


@pytest.mark.parametrize("command", ["run", "status"])
def test_a_node_that_never_joined_says_how(command: str, tmp_path: Path) -> None:
    result = stoker_agent(command, "--state-dir", str(tmp_path))
    assert result.exit_code == 4
    assert "this node has not joined: run stoker-agent join" in result.output


@pytest.mark.parametrize("name", ["Gcp-1", "a\x1b[31mred", "[bold]x[/]", "-x"])
def test_a_hostile_node_name_is_refused_before_anything_is_sent(name: str, tmp_path: Path) -> None:
    result = join(tmp_path, f"--name={name}")
    assert result.exit_code == 2
    assert "\x1b" not in result.output
    assert "lower-case letters, digits, dots and dashes" in " ".join(result.output.split())


def test_a_malformed_token_is_told_what_is_wrong(tmp_path: Path) -> None:
    result = join(tmp_path, token="stoker-join-v1.only.three")
    assert result.exit_code == 2
    assert "not copied whole" in result.output
    assert join(tmp_path, "--token", "a", "--token-file", "b").exit_code == 2
    assert "cannot be read" in join(tmp_path, "--token-file", str(tmp_path / "absent")).output


def test_labels_are_checked(tmp_path: Path) -> None:
    assert "write key=value" in join(tmp_path, "--label", "rack").output
    assert join(tmp_path, "--label", "rack=\x1b[0m").exit_code == 2


def test_joining_where_nothing_listens_is_unavailable(tmp_path: Path) -> None:
    result = join(tmp_path / "state")
    assert result.exit_code == 5
    assert "nothing listens at 127.0.0.1:1" in result.output
    assert not (tmp_path / "state" / "agent.toml").exists()


def test_a_state_directory_in_use_or_unusable(tmp_path: Path) -> None:
    with InstanceLock(tmp_path):
        result = join(tmp_path)
    assert result.exit_code == 1
    assert "another stoker-agent (process" in result.output
    (tmp_path / "file").write_text("")
    result = join(tmp_path / "file")
    assert result.exit_code == 3
    assert "Not a directory" in result.output


def test_bad_configuration_has_its_own_exit_code(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[engines]\nport_first = 0\n")
    result = stoker_agent("run", "--config", str(config), "--state-dir", str(tmp_path / "state"))
    assert result.exit_code == 3
    assert f"{config}:2: engines.port_first: must be at least 1" in result.output


def test_errors_to_exit_codes() -> None:
    expected = {CertificateNotTrustedError: 4, ControlPlaneUnreachableError: 5, TokenMalformedError: 2, AgentError: 1}
    assert {kind: exit_code(kind("x")) for kind in expected} == expected


def test_probe_is_refused_while_an_engine_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from node_agent.cli import probe

    python = tmp_path / "python"
    python.write_text(
        """#!/bin/sh
        case $2 in
        devices) echo '{"devices": [{"device_id": "cpu:0", "kind": "a CPU", "family": "cpu"}]}';;
        roofline) echo '{"uuid": "", "read_bytes_per_second": 1e11, "copy_bytes_per_second": 8e10,' \\
            '"flops_per_second": {"float32": 2e12}, "torch_version": "2.13"}';;
        esac"""
    )
    python.chmod(0o755)
    options = ("--state-dir", str(tmp_path), "--engine-python", str(python))
    monkeypatch.setattr(probe, "running_engines", lambda _: ("tiny@gcp-1",))
    refused = stoker_agent("probe", *options)
    assert (refused.exit_code, "engines run on this node (tiny@gcp-1)" in refused.output) == (6, True)
    [device] = json.loads(stoker_agent("probe", "--force", *options, "-o", "json").stdout)["devices"]
    assert device["measured"] | {"measured_at": ""} == {
        "measured_at": "",
        "disturbed": True,
        "torch_version": "2.13",
        "runtime_version": "",
        "read_bytes_per_second": 1e11,
        "copy_bytes_per_second": 8e10,
        "flops_per_second": {"float32": 2e12},
    }
    [ceiling] = device["ceilings"]
    assert (ceiling["ridge_flops_per_byte"], ceiling["source"], ceiling["disturbed"]) == (20.0, "measured", True)
    assert ceiling["measured_at"] == device["measured"]["measured_at"]
    shown = stoker_agent("probe", "--force", *options).stdout
    assert "RIDGE" in shown
    assert "disturbed" in shown
    missing = stoker_agent("probe", "--force", "--device", "cuda:9", *options)
    assert (missing.exit_code, "this node has cpu:0" in missing.output) == (1, True)
