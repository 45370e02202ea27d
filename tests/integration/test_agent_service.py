"""The agent as a service manager's child: what it is told, the watchdog, and the signals that leave engines alone."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from node_agent.host.standing import load
from tests.fakes.control_plane import FakeControlPlane, eventually

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def plane(plane: FakeControlPlane) -> FakeControlPlane:
    """Its clock agrees with this machine's."""
    plane.welcome.now.GetCurrentTime()
    return plane


class Manager:
    """The service manager's end of the socket, and all that it heard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def hears(self, beginning: str) -> bool:
        while True:
            try:
                self.heard += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                break
        return any(line.startswith(beginning) for line in self.heard)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


@pytest.fixture
def credentials(plane: FakeControlPlane, tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "stoker.join-token").write_text(plane.authority.join_token() + "\n")
    return folder


def settings(plane: FakeControlPlane) -> str:
    return "\n".join(
        (
            f'[server]\naddress = "{plane.address}"\nenrolment_address = "{plane.enrolment_address}"',
            '[node]\nname = "gcp-1"\nprovider = "gcp"\nregion = "europe-west4"\nlabels = { rack = "7" }',
        )
    )


@asynccontextmanager
async def service(tmp_path: Path, **variables: str) -> AsyncIterator[Process]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "node_agent", "run", "--log-format", "json"),
        *("--config", str(tmp_path / "agent.toml"), "--state-dir", str(tmp_path / "state")),
        cwd=ROOT,
        env={**kept, **variables},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: Process) -> tuple[int | None, list[str]]:
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    lines = [json.loads(line) for line in errors.decode().splitlines() if line.startswith("{")]
    return process.returncode, [line["event"] for line in lines]


async def test_a_node_joins_by_its_credential_and_tells_the_service_manager_all(
    plane: FakeControlPlane, credentials: Path, manager: Manager, tmp_path: Path
) -> None:
    (tmp_path / "agent.toml").write_text(settings(plane))
    watched = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "300000"}
    async with service(tmp_path, CREDENTIALS_DIRECTORY=str(credentials), **watched) as process:
        await eventually(lambda: manager.hears(f"STATUS=connected to {plane.address}; engines: none"), "it", seconds=60)
        assert "READY=1" in manager.heard
        manager.heard.clear()
        await eventually(lambda: manager.hears("WATCHDOG=1"), "pings go on")
        [request] = plane.received.joins
        assert (request.node_name, dict(request.labels)) == ("gcp-1", {"rack": "7"})
        standing = load(tmp_path / "state")
        assert standing is not None
        assert (standing.pid, standing.connected, standing.watched) == (process.pid, True, True)
        assert standing.clock_error_seconds is not None
        process.send_signal(signal.SIGTERM)
        assert (await ended(process))[0] == 0
    assert manager.hears("STOPPING=1")


async def test_a_credential_without_the_settings_that_joining_needs_says_which(
    plane: FakeControlPlane, credentials: Path, tmp_path: Path
) -> None:
    (tmp_path / "agent.toml").write_text('[node]\nname = "gcp-1"\n')
    async with service(tmp_path, CREDENTIALS_DIRECTORY=str(credentials)) as process:
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
        assert process.returncode == 3
        for key in ("server.address", "server.enrolment_address", "node.provider", "node.region"):
            assert f"{key}: is not set, and joining with the credential" in errors.decode()
    assert plane.received.joins == []


async def test_a_reload_is_refused_with_wrong_settings_and_else_makes_room_for_a_new_agent(
    plane: FakeControlPlane, credentials: Path, manager: Manager, tmp_path: Path
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(settings(plane))
    variables = {"CREDENTIALS_DIRECTORY": str(credentials), "NOTIFY_SOCKET": str(manager.path)}
    async with service(tmp_path, **variables) as process:
        await eventually(lambda: manager.hears("STATUS=connected"), "it connects", seconds=60)
        manager.heard.clear()
        file.write_text(settings(plane) + "\n[engines]\nport_first = 0\n")
        process.send_signal(signal.SIGHUP)
        await eventually(lambda: manager.hears("READY=1"), "the reload is over")
        assert manager.heard[0] == "RELOADING=1"
        assert manager.heard[1].startswith("MONOTONIC_USEC=")
        file.write_text(settings(plane))
        process.send_signal(signal.SIGHUP)
        code, events = await ended(process)
    assert (code, "settings_refused" in events, events[-1]) == (75, True, "agent_stopped")
    # The next one finds the identity, and needs the token no more.
    async with service(tmp_path, NOTIFY_SOCKET=str(manager.path)) as process:
        manager.heard.clear()
        await eventually(lambda: manager.hears("STATUS=connected"), "it connects again", seconds=60)
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGTERM)  # systemd sends it after ExecStop
        assert (await ended(process))[0] == 0
    assert len(plane.received.joins) == 1
