"""`python -m controlplane` as it is run: a process of its own, with its Envoy, on free ports."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.envoy

ROOT = Path(__file__).resolve().parents[3]
SECONDS_MAX = 60.0
CONFIG = """
[server]
host = "127.0.0.1"
port = 0
enrolment_port = {enrolment_port}
[gateway]
host = "127.0.0.1"
port = 0
concurrency = 1
drain_seconds_max = 2.0
[history]
flush_seconds = 0.2
[logs]
level = "{level}"
"""


async def spawn(*arguments: str) -> Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controlplane", *arguments),
        cwd=ROOT,
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
        limit=1 << 20,
    )


async def finished(process: Process) -> tuple[int | None, str]:
    """Exit code, and all that it said."""
    async with asyncio.timeout(SECONDS_MAX):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


@dataclass
class Daemon:
    process: Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)

    async def said(self, event: str) -> dict[str, Any]:
        """The next line of its log about this event."""
        async with asyncio.timeout(SECONDS_MAX):
            async for line in self._log():
                if line["event"] == event:
                    return line
        raise AssertionError(f"it ended without {event}: {self.lines} {self.noise}")

    async def ended(self) -> int | None:
        async with asyncio.timeout(SECONDS_MAX):
            async for _ in self._log():
                pass
            return await self.process.wait()

    async def _log(self) -> AsyncIterator[dict[str, Any]]:
        assert self.process.stdout is not None
        while raw := await self.process.stdout.readline():
            try:
                line = json.loads(raw)
            except ValueError:
                self.noise.append(raw.decode())
                continue
            self.lines.append(line)
            yield line


def configure(data: Path, *, level: str = "info", enrolment_port: int = 0) -> None:
    (data / "controlplane.toml").write_text(CONFIG.format(level=level, enrolment_port=enrolment_port))


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    code, said = await finished(await spawn("init", "--data-dir", str(directory)))
    assert code == 0, said
    configure(directory)
    return directory


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[Daemon]:
    process = await spawn("run", "--data-dir", str(data))
    daemon = Daemon(process)
    try:
        yield daemon
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
        for pid in envoys(data):
            os.kill(pid, signal.SIGKILL)


def envoys(data: Path) -> list[int]:
    """Processes that run with this data directory's gateway configuration."""
    return [pid for pid, command in _processes() if str(data / "run") in command and "envoy" in command]


def _processes() -> Iterable[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has just ended


async def test_a_life_from_init_to_sigterm(data: Path) -> None:
    async with running(data) as daemon:
        ready = await daemon.said("ready")
        assert (ready["database"], ready["leader_epoch"]) == ("sqlite", 1)
        assert ready["grpc_port"] > 0
        assert ready["enrolment_port"] > 0
        assert len(envoys(data)) >= 1

        configure(data, level="debug", enrolment_port=1)
        daemon.process.send_signal(signal.SIGHUP)
        reloaded = await daemon.said("settings_reloaded")
        assert (reloaded["changed"], reloaded["needs_restart"]) == (["logs.level"], ["server.enrolment_port"])

        (data / "controlplane.toml").write_text("[logs]\nlevel = 'loud'\n")
        daemon.process.send_signal(signal.SIGHUP)
        refused = await daemon.said("settings_not_reloaded")
        assert "logs.level" in refused["error"]

        configure(data)
        code, said = await finished(await spawn("run", "--data-dir", str(data)))
        assert code == 6
        assert f"another control plane (process {daemon.process.pid}) uses" in said
        assert "Traceback" not in said

        daemon.process.send_signal(signal.SIGTERM)
        assert await daemon.ended() == 0
        assert not [line for line in daemon.lines if line["level"] == "error" and line["event"] != refused["event"]]
        assert not [line for line in daemon.noise if "Traceback" in line], daemon.noise
    assert envoys(data) == []

    async with running(data) as daemon:
        assert (await daemon.said("ready"))["leader_epoch"] == 2, "each start leads with an epoch of its own"
        daemon.process.send_signal(signal.SIGINT)
        assert await daemon.ended() == 0


async def test_a_port_that_is_taken_is_told_in_a_sentence_and_leaves_nothing_running(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        configure(data, enrolment_port=port)
        code, said = await finished(await spawn("run", "--data-dir", str(data)))
    assert code == 6, said
    assert f"cannot listen on 127.0.0.1:{port} for joining nodes" in said
    assert "Traceback" not in said
    assert envoys(data) == []


async def test_a_directory_that_was_never_initialised(tmp_path: Path) -> None:
    code, said = await finished(await spawn("run", "--data-dir", str(tmp_path)))
    assert code not in (0, 1, None)
    assert "stoker-controlplane init" in said
    assert "Traceback" not in said


async def test_a_killed_daemon_leaves_its_gateway_and_the_next_one_finds_it(data: Path) -> None:
    async with running(data) as daemon:
        first = await daemon.said("ready")
        before = envoys(data)
        daemon.process.kill()
        await daemon.process.wait()
        assert envoys(data) == before
        async with running(data) as again:
            ready = await again.said("ready")
            assert ready["gateway"] == first["gateway"]
            assert envoys(data) == before
            again.process.send_signal(signal.SIGTERM)
            assert await again.ended() == 0
        assert envoys(data) == []


async def test_at_its_end_the_audit_is_sealed_and_the_jobs_are_remembered(data: Path) -> None:
    async with running(data) as daemon:
        await daemon.said("ready")
        daemon.process.send_signal(signal.SIGTERM)
        sealed = await daemon.said("audit_sealed")
        assert await daemon.ended() == 0
    with closing(sqlite3.connect(data / "stoker.db")) as database:
        [(audit_id, head)] = database.execute("SELECT audit_id, hash FROM audit_seals").fetchall()
        newest = database.execute("SELECT audit_id, hash FROM audit_entries ORDER BY audit_id DESC LIMIT 1").fetchone()
        assert (audit_id, head) == newest == (sealed["audit_id"], sealed["hash"])
        found = "SELECT last_outcome, detail, last_finished_at IS NOT NULL FROM job_runs WHERE name = 'seal the audit'"
        assert database.execute(found).fetchall() == [("succeeded", f"sealed up to entry {audit_id}", 1)]
