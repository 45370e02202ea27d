"""What systemd hears over a real datagram socket, and for whom its variables are meant."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.host.service_manager import VARIABLES, ServiceManager
from node_agent.tasks import TaskScope


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(20)
        yield server


def environ(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(manager.getsockname()), **more}


def test_systemd_is_told(manager: socket.socket) -> None:
    service = ServiceManager(environ(manager))
    service.ready()
    service.status("not connected:\nREADY=1 " + "x" * 1000)
    service.reloading(12.5)
    service.stopping()
    told = [manager.recv(2000).decode() for _ in range(4)]
    assert told[0] == "READY=1"
    assert told[1].startswith("STATUS=not connected: READY=1 xxx")
    assert "\n" not in told[1]
    assert len(told[1]) < 600
    assert told[2:] == ["RELOADING=1\nMONOTONIC_USEC=12500000", "STOPPING=1"]


async def test_the_loop_pings_while_it_turns(manager: socket.socket) -> None:
    service = ServiceManager(environ(manager, WATCHDOG_USEC="3000", WATCHDOG_PID=str(os.getpid())))
    manager.setblocking(False)
    async with TaskScope("test") as scope:
        scope.spawn(service.keep_alive(), name="watchdog")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            assert [await loop.sock_recv(manager, 100) for _ in range(3)] == [b"WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 10.0),
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),  # of the process that started us
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_pings_three_times_within_what_systemd_allows(
    manager: socket.socket, more: dict[str, str], seconds: float | None
) -> None:
    assert ServiceManager(environ(manager, **more), pid=7).ping_seconds == seconds


async def test_without_a_watchdog_nobody_is_kept_waiting() -> None:
    await ServiceManager({}).keep_alive()


def test_engines_do_not_inherit_what_is_meant_for_the_agent(manager: socket.socket) -> None:
    variables = {**environ(manager, WATCHDOG_USEC="1", WATCHDOG_PID=str(os.getpid())), "HF_HOME": "/models"}
    assert set(VARIABLES) < set(variables)
    service = ServiceManager.taken_from(variables)
    assert variables == {"HF_HOME": "/models"}
    service.ready()
    assert manager.recv(100) == b"READY=1"
