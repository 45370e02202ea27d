"""The lock, the service manager's socket, and the inventory of devices."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node_agent.errors import ProbeError
from node_agent.host.instance_lock import AlreadyRunningError, InstanceLock, is_locked
from node_agent.host.inventory import DeviceInventory
from node_agent.host.service_manager import ServiceManager
from node_agent.session.facts import Ceiling, Device, NodeEvent, Source
from node_agent.tasks import TaskScope
from tests.fakes.control_plane import eventually


class StoppedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


def test_one_agent_per_state_directory(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with InstanceLock(tmp_path / "new"):
        assert is_locked(tmp_path / "new")
        with pytest.raises(AlreadyRunningError, match="stop it first"), InstanceLock(tmp_path / "new"):
            pass
        assert is_locked(tmp_path / "new")
    assert not is_locked(tmp_path / "new")
    with InstanceLock(tmp_path / "new"):
        pass


def test_systemd_is_told_over_its_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        service = ServiceManager({"NOTIFY_SOCKET": path})
        service.ready()
        service.status("not connected:\nREADY=1")
        service.stopping()
        told = [server.recv(200) for _ in range(3)]
    assert told == [b"READY=1", b"STATUS=not connected: READY=1", b"STOPPING=1"]


def test_without_systemd_nothing_happens() -> None:
    ServiceManager({}).ready()
    ServiceManager({"NOTIFY_SOCKET": "/nowhere/at/all"}).status("x")


async def test_devices_are_found_in_the_end_and_a_failure_is_told_once() -> None:
    failures: list[Exception] = [ProbeError("no torch here"), ProbeError("no torch here"), RuntimeError("a bug")]
    events: list[NodeEvent] = []
    ceilings: list[Ceiling] = []

    async def probe() -> tuple[Device, ...]:
        if failures:
            raise failures.pop(0)
        return (Device("cpu:0", "a CPU", "cpu"),)

    inventory = DeviceInventory(
        probe=probe,
        with_ceilings=lambda device: Device(device.device_id, device.kind, device.family, ceilings=tuple(ceilings)),
        clock=StoppedClock(),
        on_event=events.append,
        look_again_seconds=0.01,
    )
    assert inventory.devices == ()
    async with TaskScope("test") as scope:
        scope.spawn(inventory.run(), name="inventory")
        await eventually(lambda: inventory.devices, "the devices")
        ceilings.append(Ceiling("float32", 1e12, 1e11, Source.MEASURED))
        await eventually(lambda: inventory.devices[0].ceilings, "a later measurement")
    assert [event.message for event in events] == [
        "no torch here",
        "looking for devices failed (RuntimeError): see the agent's log",
    ]
