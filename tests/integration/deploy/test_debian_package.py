"""The Debian package of the agent: built, unpacked and run, with nothing but what it carries."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from node_agent import __version__

ROOT = Path(__file__).resolve().parents[3]


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert shutil.which("dpkg-deb"), "dpkg-deb was not found: install dpkg (any distribution has it)"
    return Path(run(sys.executable, "deploy/debian/build.py", str(tmp_path_factory.mktemp("package"))).strip())


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    run("dpkg-deb", "--raw-extract", str(package), str(folder))
    return folder


def test_it_tells_what_it_needs(package: Path) -> None:
    fields = run("dpkg-deb", "--field", str(package))
    major, minor = sys.version_info[:2]
    assert f"Version: {__version__}\n" in fields
    assert f"python3 (>= {major}.{minor}), python3 (<< {major}.{minor + 1})" in fields


def test_everything_lies_in_its_place_and_belongs_to_root(package: Path) -> None:
    listing = run("dpkg-deb", "--contents", str(package)).splitlines()
    assert {line.split()[1] for line in listing} == {"root/root"}
    modes = {line.split()[5]: line.split()[0] for line in listing}
    for path, mode in {
        "./usr/bin/stoker-agent": "-rwxr-xr-x",
        "./lib/systemd/system/stoker-agent.service": "-rw-r--r--",
        "./usr/lib/sysusers.d/stoker-agent.conf": "-rw-r--r--",
        "./usr/lib/tmpfiles.d/stoker-agent.conf": "-rw-r--r--",
        "./etc/stoker/agent.toml": "-rw-r--r--",
        "./usr/share/doc/stoker-agent/node-install.md": "-rw-r--r--",
    }.items():
        assert modes[path] == mode
    assert not [path for path in modes if re.search(r"__pycache__|/torch/|/vllm/|/textual/|/sqlalchemy/", path)]
    assert not [line for line in listing if re.match(r".......[^-]*w|....s", line.split()[0][2:])]


def test_it_runs_with_nothing_but_what_it_carries(unpacked: Path) -> None:
    """Without the site-packages of the Python that runs it: -S. The parts that `run` needs are loaded, too."""
    source = (unpacked / "usr/bin/stoker-agent").read_text()
    assert source.startswith("#!/usr/bin/python3 -I\n")
    moved = unpacked / "moved.py"
    moved.write_text(source.replace('"/usr/lib/stoker-agent"', repr(str(unpacked / "usr/lib/stoker-agent"))))
    assert run(sys.executable, "-I", "-S", str(moved), "version") == f"stoker-agent {__version__}\n"
    parts = f"import sys; sys.path.insert(0, {str(unpacked / 'usr/lib/stoker-agent')!r}); import node_agent.cli.running"
    run(sys.executable, "-I", "-S", "-c", parts)


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_maintainer_scripts_are_shell(unpacked: Path, script: str) -> None:
    path = unpacked / "DEBIAN" / script
    assert path.stat().st_mode & 0o777 == 0o755
    assert "set -e" in path.read_text()
    run("sh", "-n", str(path))


def test_an_upgrade_restarts_a_running_agent_and_nothing_else(unpacked: Path) -> None:
    """A restart leaves the engines alone; a stop, which drains them, is for removal."""
    postinst, prerm = ((unpacked / "DEBIAN" / name).read_text() for name in ("postinst", "prerm"))
    assert re.search(r'if \[ -n "\$2" \]; then\s+#[^\n]*\n\s+deb-systemd-invoke try-restart "\$unit"', postinst)
    assert "deb-systemd-invoke stop" in prerm.partition('[ "$1" = remove ]')[2]
    assert "stop" not in prerm.partition('[ "$1" = remove ]')[0].partition("set -e")[2]


def test_a_settings_file_that_was_changed_is_kept(unpacked: Path) -> None:
    assert (unpacked / "DEBIAN/conffiles").read_text() == "/etc/stoker/agent.toml\n"
