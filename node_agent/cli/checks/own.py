"""Checks of what is the agent's own: its version, settings, state directory and identity."""

import os
import platform
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from node_agent.cli.checks.findings import Finding, fail, gibibytes, ok, warn
from node_agent.link.identity import IdentityStore
from node_agent.link.problems import NotJoinedError

FREE_BYTES_LOW = 5 * 2**30
FREE_BYTES_MIN = 2**30
# The agent renews at two thirds of a certificate's life: with less left than this, it has failed to for a while.
RENEWAL_OVERDUE_RATIO = 0.2
JOIN = "stoker-agent join --server HOST --name NAME --provider P --region R, with a token of `stoker node token`"


def judge_version(installed: str, running: str | None) -> Finding:
    text = f"stoker-agent {installed} on Python {platform.python_version()}"
    if running is not None and running != installed:
        fix = "systemctl restart stoker-agent (engines go on)"
        return warn("agent", f"{text} is installed, but the agent that runs is still {running}", fix)
    return ok("agent", text)


def judge_settings(problems: Sequence[str], config: str) -> list[Finding]:
    if not problems:
        return [ok("settings", f"what is set can be read ({config} and what joining stored)")]
    return [fail("settings", problem, "mend this line; docs/node-owner.md has every setting") for problem in problems]


@dataclass(frozen=True, slots=True)
class Folder:
    """None: it cannot be told, since this user may not look."""

    path: Path
    exists: bool | None
    mode: int = 0
    free_bytes: int | None = None
    free_inodes: int | None = None


def look_folder(path: Path) -> Folder:
    try:
        found = path.stat()
        space = os.statvfs(path)
    except (FileNotFoundError, NotADirectoryError):
        return Folder(path, exists=False)
    except OSError:
        return Folder(path, exists=None)
    # Some file systems count no inodes and tell 0 of 0.
    inodes = space.f_favail if space.f_files else None
    is_folder = stat.S_ISDIR(found.st_mode)
    return Folder(path, is_folder, stat.S_IMODE(found.st_mode), space.f_bavail * space.f_frsize, inodes)


def judge_folder(folder: Folder) -> list[Finding]:
    name = "state directory"
    if folder.exists is None:
        return [
            warn(name, f"{folder.path} cannot be looked at by this user", "run doctor as root or as the agent's user")
        ]
    if not folder.exists:
        return [
            fail(name, f"there is no directory {folder.path}", "joining makes it; or name another with --state-dir")
        ]
    findings: list[Finding] = []
    if folder.mode & 0o077:
        text = f"{folder.path} is open to other users (mode {folder.mode:04o}), and keys lie there"
        findings.append(warn(name, text, f"chmod 700 {folder.path}"))
    if folder.free_inodes == 0:
        findings.append(fail(name, f"the file system of {folder.path} has no inodes left", "remove small files there"))
    if folder.free_bytes is not None and folder.free_bytes < FREE_BYTES_LOW:
        text = f"{folder.path} has {gibibytes(folder.free_bytes)} free: for logs, compile caches and what is spooled"
        fix = f"free at least {gibibytes(FREE_BYTES_LOW)} there; logs of engines are under {folder.path}/engines"
        findings.append((fail if folder.free_bytes < FREE_BYTES_MIN else warn)(name, text, fix))
    free = "" if folder.free_bytes is None else f", {gibibytes(folder.free_bytes)} free"
    return findings or [ok(name, f"{folder.path} is private{free}")]


@dataclass(frozen=True, slots=True)
class Credentials:
    joined: bool = True
    problem: str = ""  # why there are none that can be used
    hidden: bool = False  # they may be there, but this user may not look
    not_before: datetime | None = None
    not_after: datetime | None = None
    open_files: tuple[str, ...] = ()  # that other users may read


def look_credentials(state_dir: Path) -> Credentials:
    store = IdentityStore(state_dir)
    try:
        identity = store.load()
    except NotJoinedError as error:
        cause = error.__cause__
        joined = not isinstance(cause, FileNotFoundError | NotADirectoryError)
        return Credentials(joined=joined, problem=str(error), hidden=isinstance(cause, PermissionError))
    open_files = tuple(
        str(path) for path in sorted(store.node_path.parent.glob("*.pem")) if path.stat().st_mode & 0o077
    )
    return Credentials(not_before=identity.not_before, not_after=identity.not_after, open_files=open_files)


def judge_credentials(credentials: Credentials, now: datetime) -> list[Finding]:
    name = "identity"
    since, until = credentials.not_before, credentials.not_after
    if credentials.hidden:
        return [warn(name, "this user may not read the node's identity", "run doctor as root or as the agent's user")]
    if not credentials.joined:
        return [fail(name, "this node has not joined a control plane", JOIN)]
    if since is None or until is None:
        return [fail(name, credentials.problem, JOIN)]
    findings = [
        fail(name, f"{path} can be read by other users: it may hold this node's key", f"chmod 600 {path}")
        for path in credentials.open_files
    ]
    left, life = (until - now).total_seconds(), (until - since).total_seconds()
    if now < since:
        text = f"the certificate is valid from {since:%Y-%m-%d %H:%M} UTC only, and it is {now:%Y-%m-%d %H:%M} here"
        findings.append(fail(name, text, "set this machine's clock: timedatectl set-ntp true"))
    elif left <= 0:
        text = f"the certificate ended on {until:%Y-%m-%d %H:%M} UTC"
        fix = "join again: stoker-agent join --replace, with a token of `stoker node token --name NAME --replace`"
        findings.append(fail(name, text, fix))
    elif left < life * RENEWAL_OVERDUE_RATIO:
        text = f"the certificate ends on {until:%Y-%m-%d %H:%M} UTC, and its renewal is overdue"
        findings.append(warn(name, text, "see that the agent runs and reaches the control plane"))
    return findings or [ok(name, f"joined; the certificate is valid until {until:%Y-%m-%d %H:%M} UTC")]
