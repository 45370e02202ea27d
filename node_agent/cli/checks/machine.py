"""Checks of what the machine gives: open files, memory, and a folder for sockets."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

from node_agent.cli.checks.findings import Finding, fail, gibibytes, ok, warn
from node_agent.inside.sockets import default_socket_dir

OPEN_FILES_MIN = 8192  # an engine holds a socket for each request; connections of its workers come on top
MEMORY_BYTES_LOW = 4 * 2**30
MEMORY_BYTES_MIN = 2**30
SOCKET_PATH_BYTES_MAX = 107  # sun_path, without its closing zero
SOCKET_NAME_BYTES = 30  # of what the agent adds: a folder for each engine process, and a name in it


def look_open_files(pid: int | None) -> int | None:
    """Of the agent that runs, since its engines inherit that; else of this process. None: it may not be asked."""
    try:
        soft, _ = (
            resource.getrlimit(resource.RLIMIT_NOFILE) if pid is None else resource.prlimit(pid, resource.RLIMIT_NOFILE)
        )
    except (OSError, ValueError):
        return None
    return soft


def judge_open_files(limit: int | None, *, of_agent: bool) -> Finding:
    whose = "the agent that runs" if of_agent else "this shell (the unit sets its own)"
    if limit is None:
        return warn(
            "open files", "this user may not ask for the agent's limit", "run doctor as root or as the agent's user"
        )
    if limit != resource.RLIM_INFINITY and limit < OPEN_FILES_MIN:
        fix = "set LimitNOFILE=524288 in the unit, or ulimit -n before starting it by hand"
        return warn("open files", f"{whose} may open {limit} files, fewer than {OPEN_FILES_MIN}", fix)
    shown = "any number of" if limit == resource.RLIM_INFINITY else str(limit)
    return ok("open files", f"{whose} may open {shown} files")


def look_memory() -> int:
    return int(psutil.virtual_memory().available)


def judge_memory(available_bytes: int) -> Finding:
    text = f"{gibibytes(available_bytes)} of memory can be used"
    if available_bytes < MEMORY_BYTES_LOW:
        fix = "an engine's three processes take about 2 GiB beside the weights: end what is not needed"
        return (fail if available_bytes < MEMORY_BYTES_MIN else warn)("memory", text, fix)
    return ok("memory", text)


@dataclass(frozen=True, slots=True)
class SocketFolder:
    path: Path
    usable: bool | None  # None: there is none yet, the agent's start makes it


def look_socket_folder(named: Path | None, state_dir: Path, run: Path = Path("/run")) -> SocketFolder:
    """`named`: by the settings; the unit names its runtime directory in the agent's environment, which others do not have."""
    runtime = run / "stoker-agent"
    path = named or (runtime if runtime.exists() else default_socket_dir(state_dir))
    return SocketFolder(path, os.access(path, os.W_OK | os.X_OK) if path.exists() else None)


def judge_socket_folder(folder: SocketFolder) -> Finding:
    length = len(os.fsencode(folder.path)) + 1 + SOCKET_NAME_BYTES
    if length > SOCKET_PATH_BYTES_MAX:
        text = f"paths of sockets in {folder.path} would have {length} bytes; the kernel takes {SOCKET_PATH_BYTES_MAX}"
        return fail("sockets", text, "name a shorter folder: engines.socket_dir in /etc/stoker/agent.toml")
    if folder.usable is False:
        return warn("sockets", f"this user may not write to {folder.path}", "run doctor as root or as the agent's user")
    when = " once the agent starts" if folder.usable is None else ""
    return ok("sockets", f"{folder.path} can be used{when}, and its path is short enough")
