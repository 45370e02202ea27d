"""One agent per state directory. The kernel drops the lock with the process, however it ends.

Taken by `run` and by `join`; `status` only looks. Never removes the file: that would let two processes lock two files.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from node_agent.errors import AgentError
from node_agent.settings import BadSettingsError


class AlreadyRunningError(AgentError):
    """Another process of the agent holds the state directory."""

    code = "already_running"


class InstanceLock:
    """A context manager. Raises AlreadyRunningError, or BadSettingsError when the state directory cannot be used."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._path = lock_path(state_dir)
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not inherited by engines: one that outlives the agent must not hold its lock.
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            text = f"the state directory {self._state_dir} cannot be used ({error.strerror})"
            raise BadSettingsError([f"state_dir: {text}; give another one with --state-dir, or mend it"]) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = self._holder()
            self._close()
            raise AlreadyRunningError(
                f"another stoker-agent{holder} uses {self._state_dir}: stop it first, or give this one a state "
                "directory of its own with --state-dir"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _holder(self) -> str:
        assert self._descriptor is not None  # noqa: S101 - it was just opened
        told = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
        return f" (process {told})" if told.isdecimal() else ""

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def lock_path(state_dir: Path) -> Path:
    return state_dir / "agent.lock"


def is_locked(state_dir: Path) -> bool:
    """Whether an agent runs on this state directory now."""
    try:
        descriptor = os.open(lock_path(state_dir), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
