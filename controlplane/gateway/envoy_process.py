"""One Envoy process: started by us in a session of its own, or found still running after the daemon was restarted.

Called by the supervisor. A process is known by its id *and* the moment of its start, and signalled through a pidfd, so that a
recycled id is never mistaken for it. Never decides when to start or stop.
"""

import asyncio
import contextlib
import json
import os
import resource
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

LOG_BYTES_MAX = 8 << 20
_NOISE = ("[backtrace]", "[envoy_bug]")  # addresses that say nothing to people


@dataclass(frozen=True, slots=True)
class EnvoyState:
    """What the state file remembers of the running Envoy across the daemon's lives."""

    pid: int
    birth: str  # boot id and start time of the process
    configuration: str  # hash of binary version, arguments and bootstrap
    version: str
    bootstrap_path: str

    def write(self, path: Path) -> None:
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps(asdict(self)), encoding="utf-8")
        fresh.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """None when there is none, or none that can be understood."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def birth_of(pid: int) -> str | None:
    """When the process was born, unique on this machine; None when it is not alive."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}:{start_ticks}"


class EnvoyProcess:
    def __init__(self, pid: int, birth: str, pidfd: int, *, ours: bool) -> None:
        self.pid = pid
        self.birth = birth
        self._pidfd = pidfd
        self._unreaped_child = ours  # False: adopted (its parent is gone), or reaped
        self._exit_code: int | None = None

    @classmethod
    def spawn(cls, command: list[str], log_path: Path) -> Self:
        """Start it so that it outlives us. Raises OSError."""
        # Not subprocess.Popen: that is made for children which end before their parent does.
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        opened = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_path), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=opened, setsid=True)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError):  # it may be gone already; its exit will be noticed
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        return cls(pid, birth_of(pid) or "", os.pidfd_open(pid), ours=True)

    @classmethod
    def adopt(cls, pid: int, birth: str) -> Self | None:
        """The process of that id, if it is still the one born then."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return None
        if birth_of(pid) != birth:
            os.close(pidfd)
            return None
        return cls(pid, birth, pidfd, ours=False)

    @property
    def alive(self) -> bool:
        return self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]

    @property
    def exit_code(self) -> int | None:
        """Negative: the signal that ended it. None while alive, and for an adopted one, whose code nobody can read."""
        if self._unreaped_child:
            with contextlib.suppress(ChildProcessError):
                reaped, status = os.waitpid(self.pid, os.WNOHANG)
                if reaped == 0:
                    return None
                self._exit_code = os.waitstatus_to_exitcode(status)
            self._unreaped_child = False
        return self._exit_code

    async def exited(self) -> None:
        """Wait until it is gone."""
        if not self.alive:
            return
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        watched = os.dup(self._pidfd)  # one reader each: two may wait at the same time
        loop.add_reader(watched, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(watched)
            os.close(watched)

    async def exited_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.exited(), seconds)
        except TimeoutError:
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def release(self) -> None:
        """Let go of it, dead or alive; a dead child is reaped."""
        _ = self.exit_code
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def log_tail(path: Path, lines: int = 12) -> str:
    """The last lines of Envoy's log, for people."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 16_384))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    told = [line for line in text.splitlines() if not any(noise in line for noise in _NOISE)]
    return "\n".join(told[-lines:])


def bound_log(path: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Move a log that has grown too large aside (one generation) without disturbing the process that appends to it."""
    with contextlib.suppress(OSError):
        if path.stat().st_size <= bytes_max:
            return
        kept = path.read_bytes()[-bytes_max:]
        path.with_suffix(".log.1").write_bytes(kept)
        os.truncate(path, 0)
