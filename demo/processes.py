"""Child processes of the demo and of the end-to-end tests: started with a log each, ended for certain.

Called by `demo.stack`. Every child leads a process group of its own; whatever is left of it at the end is killed by group, and
the processes that it started in groups of their own (Envoy, engines) are found by the files in which their owners keep them.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
TAIL_LINES = 25


class StepFailedError(Exception):
    """A step of the demo did not work; the message says which, and shows the last lines of the log."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without what slows Python's start or leaks this shell's settings into the demo."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key != "PYTHONDONTWRITEBYTECODE" and not key.startswith("STOKER_")
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **(extra or {})}


def tool(module: str) -> list[str]:
    """The command line of one of our programs, in this very environment."""
    return [sys.executable, "-m", module]


def call(command: Sequence[str], what: str, extra: Mapping[str, str] | None = None, seconds: float = 120.0) -> str:
    """Run a command to its end; its standard output. Raises StepFailedError with what it said."""
    done = subprocess.run(
        command, env=environment(extra), cwd=REPOSITORY, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode != 0:
        raise StepFailedError(
            f"{what} failed (exit code {done.returncode}):\n{done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout


@dataclass
class Child:
    """A program that runs beside us."""

    name: str
    command: list[str]
    log: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=environment(self.extra),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    def check(self) -> None:
        """Raises StepFailedError when it has ended by itself."""
        if self.process is not None and self.process.poll() is not None:
            code = self.process.returncode
            raise StepFailedError(f"{self.name} ended by itself (exit code {code}); its last lines:\n{self.tail()}")

    def tail(self) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        except OSError:
            return "(no log)"

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, seconds: float) -> None:
        """SIGTERM, then SIGKILL to what is left of its group."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def left_over(marker: str) -> list[psutil.Process]:
    """Processes that name `marker` (a directory that only this demo has) in their command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid():
                continue
            if any(marker in part for part in process.cmdline()) or marker in process.environ().get("STOKER_DEMO", ""):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def kill_left_over(marker: str) -> list[str]:
    """Kill what should not be there any more; the names of what was found."""
    names = []
    for process in left_over(marker):
        try:
            names.append(f"{process.pid} {process.name()}")
            process.kill()
            process.wait(5)
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):
            continue
    return names
