"""The lock, and the inventory of devices."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node_agent.errors import ProbeError
from node_agent.host.instance_lock import AlreadyRunningError, InstanceLock, is_locked
from node_agent.host.inventory import DeviceInventory
from node_agent.session.facts import Ceiling, Device, NodeEvent
from node_agent.session.values import Source
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


async def test_what_was_measured_is_taken_at_once() -> None:
    ceilings: list[Ceiling] = []

    async def probe() -> tuple[Device, ...]:
        return (Device("cpu:0", "a CPU", "cpu"),)

    inventory = DeviceInventory(
        probe=probe,
        with_ceilings=lambda device: replace(device, ceilings=tuple(ceilings)),
        clock=StoppedClock(),
        on_event=lambda _: None,
        look_again_seconds=3600.0,
    )
    async with TaskScope("test") as scope:
        scope.spawn(inventory.run(), name="inventory")
        await eventually(lambda: inventory.devices, "the devices")
        ceilings.append(Ceiling("float32", 1e12, 1e11, Source.MEASURED))
        inventory.refresh()
        assert inventory.devices[0].ceilings == tuple(ceilings)


async def test_the_drivers_devices_stand_in_for_torchs_and_a_swapped_board_is_looked_at_anew() -> None:
    broken, asked = [True], list[int]()
    seen = [Device("cuda:0", "by the driver", "cuda", uuid="GPU-1")]

    async def probe() -> tuple[Device, ...]:
        asked.append(1)
        if broken:
            raise ProbeError("no torch here")
        return (replace(seen[0], kind="by torch"),)

    inventory = DeviceInventory(
        probe=probe,
        with_ceilings=lambda device: device,
        clock=StoppedClock(),
        on_event=lambda _: None,
        seen=lambda: tuple(seen),
        look_again_seconds=0.01,
    )
    async with TaskScope("test") as scope:
        scope.spawn(inventory.run(), name="inventory")
        await eventually(
            lambda: [device.kind for device in inventory.devices] == ["by the driver"], "the driver's word"
        )
        broken.clear()
        await eventually(lambda: [device.kind for device in inventory.devices] == ["by torch"], "torch's word")
        count = len(asked)
        seen[0] = replace(seen[0], uuid="GPU-2")
        await eventually(lambda: inventory.devices[0].uuid == "GPU-2", "the other board")
        assert len(asked) == count + 1
