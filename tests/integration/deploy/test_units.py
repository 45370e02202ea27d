"""The systemd units as systemd itself judges them, and the one line of shell in them."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UNITS = ROOT / "deploy/systemd"
EXPOSURE_MAX = {"stoker-agent": 2.5, "stoker-controlplane": 1.5}


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    assert tool, "systemd-analyze was not found: install systemd (Debian: apt install systemd); it need not run"
    return subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60, check=False)


def unit(name: str) -> str:
    return (UNITS / f"{name}.service").read_text()


@pytest.mark.parametrize("name", EXPOSURE_MAX)
def test_systemd_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    # The program is not installed on the machine that runs the tests.
    text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={shutil.which('true')}", unit(name))
    copy = tmp_path / f"{name}.service"
    copy.write_text(text)
    found = analyze("verify", str(copy))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_verify_would_see_a_mistake(tmp_path: Path) -> None:
    copy = tmp_path / "stoker-agent.service"
    copy.write_text(unit("stoker-agent").replace("KillMode=process", "KillMode=nothing"))
    assert "kill mode" in analyze("verify", str(copy)).stderr


@pytest.mark.parametrize("name", EXPOSURE_MAX)
def test_a_unit_exposes_little(name: str) -> None:
    found = analyze("security", "--offline=true", "--no-pager", str(UNITS / f"{name}.service"))
    told = re.search(r"exposure level for \S+: ([\d.]+)", found.stdout)
    assert told, found.stderr
    assert float(told[1]) <= EXPOSURE_MAX[name], found.stdout


def test_what_engines_and_agent_rely_on_is_set() -> None:
    lines = set(unit("stoker-agent").splitlines())
    wanted = {
        "Type=notify",
        "NotifyAccess=main",
        "KillMode=process",
        "OOMPolicy=continue",
        "WatchdogSec=30s",
        "RuntimeDirectoryPreserve=yes",
        "LoadCredential=stoker.join-token",
        "RestartForceExitStatus=75",
        "ExecReload=/bin/kill -HUP $MAINPID",
    }
    assert wanted <= lines
    assert not any(line.startswith(("RemoveIPC=", "PrivateDevices=", "MemoryDenyWriteExecute=")) for line in lines)


@pytest.mark.parametrize(
    ("jobs", "told"),
    [("42 stoker-agent.service restart running", True), ("42 stoker-agent.service stop running", False), ("", False)],
)
def test_a_restart_leaves_the_engines_and_a_stop_does_not(jobs: str, told: bool, tmp_path: Path) -> None:
    """The unit's ExecStop, with a systemctl that answers as systemd does during such a job."""
    found = re.search(r"(?m)^ExecStop=\+/bin/sh -c '(.*)'$", unit("stoker-agent"))
    assert found
    script = found[1].replace("%n", "stoker-agent.service").replace("$$", "$")
    asked = tmp_path / "asked"
    fake = tmp_path / "systemctl"
    fake.write_text(f'#!/bin/sh\necho "$@" >{asked}\necho "{jobs}"\n')
    fake.chmod(0o755)
    waits = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout is not None
            agent.stdout.readline()
            environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MAINPID": str(agent.pid)}
            subprocess.run(["/bin/sh", "-c", script], env=environment, check=True, timeout=20)
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(20) == (-signal.SIGUSR1 if told else 0)
        finally:
            agent.kill()
    assert asked.read_text().split() == ["list-jobs", "--no-legend", "--plain", "stoker-agent.service"]


def test_an_agent_that_is_gone_makes_no_failure_of_the_stop() -> None:
    found = re.search(r"(?m)^ExecStop=\+/bin/sh -c '(.*)'$", unit("stoker-agent"))
    assert found
    script = found[1].replace("$$(systemctl list-jobs --no-legend --plain %n)", "restart").replace("$$", "$")
    subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, check=True, timeout=20, capture_output=True
    )
