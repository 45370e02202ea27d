"""An engine's process and everything that it starts: spawned, found again, signalled, and known to be gone.

Called by `EngineRunner` only. Engines lead a session of their own, so that they outlive the agent and can be ended as a
whole. Linux only: /proc tells who is who. Never blocks, never waits.
"""

import contextlib
import errno
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from node_agent.engines.engine import Launch
from node_agent.errors import LaunchError

_PROC = Path("/proc")
_ZOMBIE, _DEAD = "Z", "X"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """What no other process ever has: a pid alone is used again."""

    pid: int
    start_ticks: int  # since boot
    boot_id: str


@dataclass(frozen=True, slots=True)
class Gone:
    exit_code: int | None  # negative: the signal; None: nobody can tell


class EngineProcess:
    """`child` is None for a process that an earlier run of the agent had started."""

    def __init__(self, identity: ProcessIdentity, child: "subprocess.Popen[bytes] | None" = None) -> None:
        self.identity = identity
        self._child = child

    @property
    def pid(self) -> int:
        return self.identity.pid

    def poll(self) -> Gone | None:
        """None while it, or anything that it started, is still there. What outlives its leader is killed."""
        exit_code: int | None = None
        if self._child is not None:
            exit_code = self._child.poll()
            if exit_code is None:
                return None
        elif identify(self.pid) == self.identity:
            return None
        orphans = session_members(self.pid)
        for orphan in orphans:
            _signal(orphan, signal.SIGKILL)
        return None if orphans else Gone(exit_code)

    def terminate(self) -> None:
        """Asks the leader alone: it knows how to end its workers in order."""
        if self._leads():
            _signal(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self._leads():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        for member in session_members(self.pid):
            _signal(member, signal.SIGKILL)

    def _leads(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return identify(self.pid) == self.identity


def spawn(launch: Launch, directory: Path, log_path: Path) -> EngineProcess:
    """Output goes straight into the file, so that the engine does not depend on the agent's being there."""
    try:
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LaunchError(f"cannot write the engine's log {log_path}: {error.strerror}", retryable=True) from error
    try:
        child = subprocess.Popen(
            launch.command,
            env=dict(launch.environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise LaunchError(f"cannot start the engine: {launch.command[0]} does not exist", retryable=False) from error
    except PermissionError as error:
        raise LaunchError(f"cannot start the engine: {launch.command[0]} may not be run", retryable=False) from error
    except (OSError, ValueError) as error:
        hopeless = isinstance(error, OSError) and error.errno == errno.ENOEXEC
        raise LaunchError(f"cannot start the engine: {error}", retryable=not hopeless) from error
    finally:
        os.close(log)
    identity = identify(child.pid, zombies=True)
    if identity is None:
        child.kill()
        raise LaunchError("the engine's process cannot be seen in /proc", retryable=True)
    return EngineProcess(identity, child)


def adopt(identity: ProcessIdentity) -> EngineProcess | None:
    """The very process that was recorded, or None if it is gone. What it left behind is then killed."""
    if identity.boot_id != boot_id():
        return None
    if identify(identity.pid) == identity:
        return EngineProcess(identity)
    if not (_PROC / str(identity.pid)).exists():
        # Nobody has the pid, so a session of that number can only be what the engine left.
        for orphan in session_members(identity.pid):
            _signal(orphan, signal.SIGKILL)
    return None


def identify(pid: int, *, zombies: bool = False) -> ProcessIdentity | None:
    stat = _stat(pid)
    if stat is None or (stat[0] in (_ZOMBIE, _DEAD) and not zombies):
        return None
    return ProcessIdentity(pid=pid, start_ticks=int(stat[19]), boot_id=boot_id())


def session_members(session: int) -> tuple[int, ...]:
    """Every living process of the session, its leader included."""
    members = []
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat is not None and stat[0] not in (_ZOMBIE, _DEAD) and int(stat[3]) == session:
                members.append(int(entry.name))
    return tuple(members)


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on: state, ppid, pgrp, session … start time is the 20th of them."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The second field is a name in brackets, which may hold anything, brackets too.
    return text.rpartition(")")[2].split()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
