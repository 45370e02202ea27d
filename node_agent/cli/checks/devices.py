"""Checks of the driver and of the device files, seen with the eyes of the agent's user."""

import importlib.util
import os
import pwd
import stat
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.cli.checks.asking import ask
from node_agent.cli.checks.engines import read_facts
from node_agent.cli.checks.findings import Finding, fail, ok, warn

_CHILD = Path(__file__).with_name("looking_child.py")
DRIVER_SECONDS_MAX = 15.0
_PATTERNS = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "kfd", "dri/renderD*")


@dataclass(frozen=True, slots=True)
class DeviceFile:
    path: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gids: frozenset[int]


def look_files(dev: Path = Path("/dev")) -> tuple[DeviceFile, ...]:
    found = []
    for pattern in _PATTERNS:
        for path in sorted(dev.glob(pattern)):
            about = path.stat()
            found.append(DeviceFile(str(path), stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid))
    return tuple(found)


def look_account(state_dir: Path) -> Account:
    """Whose agent it is: the owner of the state directory, else whoever asks."""
    try:
        uid = state_dir.stat().st_uid
    except OSError:
        uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, frozenset())
    return Account(entry.pw_name, uid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def may_use(file: DeviceFile, account: Account) -> bool:
    """Read and write, by the first of owner, group and others that applies, as the kernel does."""
    if account.uid == 0:
        return True
    if file.uid == account.uid:
        bits = file.mode >> 6
    elif file.gid in account.gids:
        bits = file.mode >> 3
    else:
        bits = file.mode
    return bits & 0o6 == 0o6


def judge_files(files: Collection[DeviceFile], account: Account) -> Finding:
    if not files:
        return ok("device files", "there are none of a GPU")
    barred = [file.path for file in files if not may_use(file, account)]
    if barred:
        fix = (
            f"add {account.name} to their group: SupplementaryGroups= in `systemctl edit stoker-agent`, or usermod -aG"
        )
        return fail("device files", f"the user {account.name} may not open {', '.join(barred)}", fix)
    return ok("device files", f"the user {account.name} may open all {len(files)}")


async def check_driver(files: Collection[DeviceFile]) -> Finding:
    """In a process of its own: a driver that hangs must not hang doctor."""
    found = importlib.util.find_spec("pynvml")
    if found is None or found.origin is None:
        return fail("driver", "nvidia-ml-py is not installed beside the agent", "install the agent anew")
    folder = str(Path(found.origin).parent)
    answer = await ask(sys.executable, str(_CHILD), "driver", folder, seconds_max=DRIVER_SECONDS_MAX)
    return judge_driver(read_facts(answer.output), answer.complaint, files)


def judge_driver(facts: dict[str, Any], complaint: str, files: Collection[DeviceFile]) -> Finding:
    nvidia = any("/nvidia" in file.path for file in files)
    if "driver" in facts:
        text = f"NVIDIA {facts['driver']}, {facts.get('devices_count', 0)} devices"
        if not facts.get("devices_count"):
            return warn("driver", text, "see nvidia-smi and dmesg: a device may have fallen off the bus")
        return ok("driver", text)
    if "problem" not in facts:
        fix = "see dmesg for NVRM and XID lines; the machine may need a reset"
        return fail("driver", f"asking NVML failed: {complaint or 'it said nothing'}", fix)
    if nvidia:
        fix = "install the driver's user space in the kernel module's version, and reboot if they differ"
        return fail("driver", f"there are NVIDIA device files, but NVML says: {facts['problem']}", fix)
    if files:
        return ok("driver", "no NVIDIA driver; the device files are AMD's, which torch is asked about")
    return ok("driver", "no NVIDIA driver and no device files: this node has no GPU that could be used")
