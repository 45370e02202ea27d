# ruff: noqa: INP001 - a program of its own, run by `make deb`
"""Builds the Debian package of the agent: python deploy/debian/build.py FOLDER prints the package's path.

The package carries the agent and the very libraries that are installed beside this Python, which are those of the lock and
of the tests. So a node needs no package index, an upgrade replaces all at once, and no maintainer script downloads or
resolves anything. The price: a package fits the processor and the minor version of Python that it was built on.
vLLM is not in it: its environment is the owner's, and is upgraded apart.
"""

import gzip
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = ROOT / "deploy/debian"
PACKAGE = "stoker-agent"
LIBRARIES = Path("usr/lib") / PACKAGE
DOCUMENTS = Path("usr/share/doc") / PACKAGE

# What of this project a node needs: the agent, and the wire that it shares with the control plane.
SOURCES = ("node_agent", "controlplane/__init__.py", "controlplane/proto")
FILES = {
    "deploy/debian/stoker-agent": ("usr/bin/stoker-agent", 0o755),
    "deploy/systemd/stoker-agent.service": ("lib/systemd/system/stoker-agent.service", 0o644),
    "deploy/sysusers.d/stoker-agent.conf": ("usr/lib/sysusers.d/stoker-agent.conf", 0o644),
    "deploy/tmpfiles.d/stoker-agent.conf": ("usr/lib/tmpfiles.d/stoker-agent.conf", 0o644),
    "deploy/agent.toml": ("etc/stoker/agent.toml", 0o644),
    "deploy/debian/copyright": (str(DOCUMENTS / "copyright"), 0o644),
    "docs/node-install.md": (str(DOCUMENTS / "node-install.md"), 0o644),
    "docs/node-owner.md": (str(DOCUMENTS / "node-owner.md"), 0o644),
}
SCRIPTS = ("postinst", "prerm", "postrm")
CONTROL = """\
Package: {package}
Version: {version}
Architecture: {architecture}
Section: admin
Priority: optional
Maintainer: The authors of Stoker <maintainers@stoker.example>
Installed-Size: {kibibytes}
Depends: python3 (>= {python}), python3 (<< {python_next}), libc6 (>= 2.34), libstdc++6, systemd (>= 247), init-system-helpers (>= 1.54)
Suggests: nvidia-persistenced
Description: Stoker's agent for one GPU node
 Runs vLLM engines as a Stoker control plane asks, watches them, measures the
 hardware, and reports. vLLM itself is not in this package: its environment is
 the node owner's, and is named in /etc/stoker/agent.toml.
"""  # noqa: E501 - a field is one line


def main(out: Path) -> Path:
    version = distribution("stoker").version
    architecture = _said("dpkg", "--print-architecture")
    with tempfile.TemporaryDirectory(prefix="stoker-deb-") as made:
        stage = Path(made) / PACKAGE
        stage.mkdir(mode=0o755)
        for source in SOURCES:
            _copy(ROOT / source, stage / LIBRARIES / source)
        for library in sorted(libraries("stoker", "agent"), key=lambda each: each.name):
            _copy_distribution(library, stage / LIBRARIES)
        for source, (target, mode) in FILES.items():
            _copy(ROOT / source, stage / target)
            (stage / target).chmod(mode)
        changes = stage / DOCUMENTS / "CHANGELOG.md.gz"
        changes.write_bytes(gzip.compress((ROOT / "CHANGELOG.md").read_bytes(), 9, mtime=0))
        changes.chmod(0o644)
        _write_control(stage, version, architecture)
        out.mkdir(parents=True, exist_ok=True)
        package = out / f"{PACKAGE}_{version}_{architecture}.deb"
        _said("dpkg-deb", "--root-owner-group", "--build", str(stage), str(package))
    return package


def libraries(name: str, extra: str) -> Iterator[Distribution]:
    """What `name[extra]` needs, all the way down, as it is installed here."""
    seen: set[str] = set()
    waiting = [(name, extra)]
    while waiting:
        wanted, wanted_extra = waiting.pop()
        found = distribution(wanted)
        for text in found.requires or ():
            requirement = Requirement(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": wanted_extra}):
                continue
            key = distribution(requirement.name).name
            waiting += [(requirement.name, each) for each in requirement.extras]
            if key not in seen:
                seen.add(key)
                waiting.append((requirement.name, ""))
                yield distribution(requirement.name)


def _copy_distribution(library: Distribution, target: Path) -> None:
    for file in library.files or ():
        # Commands of libraries (../../bin) are no business of a node's; byte code is made where it runs.
        if ".." not in file.parts and file.suffix != ".pyc" and file.name not in ("direct_url.json", "INSTALLER"):
            _copy(Path(str(library.locate_file(file))), target / str(file))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        for inner in sorted(source.iterdir()):
            if inner.name != "__pycache__" and not inner.name.startswith("."):
                _copy(inner, target / inner.name)
        return
    for folder in reversed(target.parents):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _write_control(stage: Path, version: str, architecture: str) -> None:
    control = stage / "DEBIAN"
    control.mkdir(mode=0o755)
    kibibytes = sum(-(-path.stat().st_size // 1024) for path in stage.rglob("*") if path.is_file())
    major, minor, _ = platform.python_version_tuple()
    fields = {"package": PACKAGE, "version": version, "architecture": architecture, "kibibytes": kibibytes}
    text = CONTROL.format(**fields, python=f"{major}.{minor}", python_next=f"{major}.{int(minor) + 1}")
    (control / "control").write_text(text)
    (control / "conffiles").write_text("/etc/stoker/agent.toml\n")
    for script in SCRIPTS:
        shutil.copyfile(DEBIAN / script, control / script)
        (control / script).chmod(0o755)
    _stamp(stage)


def _stamp(stage: Path) -> None:
    """The same sources make the same package, whenever and by whomever it is built."""
    stamp = int(os.environ.get("SOURCE_DATE_EPOCH", "0")) or int((ROOT / "CHANGELOG.md").stat().st_mtime)
    for path in (stage, *stage.rglob("*")):
        os.utime(path, (stamp, stamp))


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]))}\n")
