"""What is kept of the readings, and that no trouble with a driver reaches anybody else."""

import os
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from node_agent.hardware.cpu import CpuReader
from node_agent.hardware.monitor import DeviceMonitor, NodeEngines
from node_agent.hardware.nvml import NvmlReader
from node_agent.hardware.readings import DeviceReading, HardwareUnreadableError, Readers
from node_agent.session.facts import EngineCounters, EngineState, EngineStatus, NodeEvent
from node_agent.session.hardware import MemoryUse
from node_agent.session.inside import ModelShape
from node_agent.tasks import TaskScope
from tests.fakes.control_plane import eventually
from tests.fakes.nvml import FakeBoard, FakeNvml
from tests.support.clock import START, SettableClock

GIB = 2**30


class Node:
    """A monitor over a library of boards, with the engines that are put on it."""

    def __init__(self, *boards: FakeBoard, read_seconds_max: float = 30.0) -> None:
        self.library = FakeNvml(*boards)
        self.clock = SettableClock()
        self.engines: list[EngineStatus] = []
        self.processes: dict[int, tuple[int, ...]] = {}
        self.events: list[NodeEvent] = []
        self.opened = 0
        self.monitor = DeviceMonitor(
            engines=NodeEngines(lambda: self.engines, lambda pid: self.processes.get(pid, ()), lambda _: ""),
            clock=self.clock,
            on_event=self.events.append,
            interval_seconds=0.01,
            open_devices=self.open,
            read_seconds_max=read_seconds_max,
            environ={},
        )

    def open(self) -> Readers:
        self.opened += 1
        reader = NvmlReader.open(self.library)
        return Readers() if reader is None else Readers((reader,))

    def put(self, pid: int, *processes: int, shape: ModelShape | None = None, instance_id: str = "i1") -> None:
        self.processes[pid] = processes
        self.engines.append(
            EngineStatus(
                f"e{pid}", 1, instance_id, "m", EngineState.READY, START, device_ids=("cuda:0",), pid=pid, shape=shape
            )
        )

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.monitor.look()
            self.clock.advance(10)

    def told(self) -> list[tuple[str, str]]:
        return [(event.kind, event.device_id) for event in self.events]


async def test_health_devices_and_ledgers_of_the_last_reading() -> None:
    node = Node(FakeBoard(total=100 * GIB, used=30 * GIB, processes={7: 20 * GIB, 8: 8 * GIB}))
    assert (node.monitor.health(), node.monitor.ledgers(), node.monitor.devices()) == ((), (), ())
    node.put(
        7, 7, 8, shape=ModelShape(weights_bytes=10 * GIB, kv_blocks=16, kv_block_tokens=16, kv_bytes_per_token=4.0)
    )
    await node.look()
    [health] = node.monitor.health()
    assert (health.device_id, health.measured_at, health.temperature_celsius, health.faults) == (
        "cuda:0",
        START,
        41.0,
        (),
    )
    [ledger] = node.monitor.ledgers()
    assert {part.use: part.bytes for part in ledger.portions} == {
        MemoryUse.WEIGHTS: 10 * GIB,
        MemoryUse.KV_CACHE: 1024,
        MemoryUse.ACTIVATIONS: 18 * GIB - 1024,
        MemoryUse.OTHER: 2 * GIB,
        MemoryUse.FREE: 70 * GIB,
    }
    assert [device.uuid for device in node.monitor.devices()] == ["GPU-0"]
    assert node.events == []


async def test_a_fault_is_an_event_when_it_begins_and_when_it_ends() -> None:
    board = FakeBoard(ecc=(0, 1))
    node = Node(board)
    await node.look(3)
    assert [fault.kind for fault in node.monitor.health()[0].faults] == ["ecc_uncorrected"]
    board.ecc = (0, 0)
    await node.look(8)
    assert node.told() == [("device_fault", "cuda:0"), ("device_recovered", "cuda:0")]
    assert "reset the device" in node.events[0].action


async def test_memory_of_a_stranger_is_a_fault_and_that_of_an_engine_is_not() -> None:
    node = Node(FakeBoard(used=9 * GIB, processes={7: 5 * GIB, 99: 4 * GIB}))
    node.put(7, 7)
    await node.look(7)
    [event] = node.events
    assert "process 99" in event.message


async def test_requests_that_fit_by_the_recent_mean_length() -> None:
    node = Node(FakeBoard(total=100 * GIB, used=50 * GIB, processes={7: 50 * GIB}))
    node.put(7, 7, shape=ModelShape(kv_bytes_per_token=float(2**20)))
    await node.look()
    assert node.monitor.ledgers()[0].headroom[0].requests is None
    counters = EngineCounters(prompt_tokens=40_000, generation_tokens=8_000, requests_finished=48)
    [status] = node.engines
    node.engines[:] = [
        EngineStatus(**{name: getattr(status, name) for name in status.__slots__} | {"counters": counters})
    ]
    await node.look()
    [room] = node.monitor.ledgers()[0].headroom
    assert (room.tokens, room.requests) == (42 * 1024, 42 * 1024 / 1000)


async def test_engines_without_a_process_are_not_looked_for() -> None:
    node = Node(FakeBoard(used=GIB))
    node.put(0)
    await node.look()
    assert node.monitor.ledgers()[0].headroom == ()


async def test_weights_come_from_the_models_files_until_the_engine_tells(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}" + bytes(100))
    monitor = DeviceMonitor(
        engines=NodeEngines(
            lambda: [EngineStatus("e", 1, "i", "m", EngineState.READY, START, device_ids=("cpu:0",), pid=os.getpid())],
            lambda pid: (pid,),
            lambda _: str(tmp_path),
        ),
        clock=SettableClock(),
        on_event=lambda _: None,
        interval_seconds=1,
        open_devices=lambda: Readers((CpuReader(),)),
    )
    await monitor.look()
    [ledger] = monitor.ledgers()
    assert [(part.bytes, part.source.value) for part in ledger.portions if part.use is MemoryUse.WEIGHTS] == [
        (100, "configured")
    ]


async def test_a_driver_that_fails_is_told_once_and_opened_again() -> None:
    node = Node(FakeBoard())
    node.library.init_error = 18
    await node.look(3)
    assert node.told() == [("device_health_unknown", "")]
    assert "restart the node" in node.events[0].message
    node.library.init_error = 0
    await node.look(2)
    assert node.told()[1:] == [("device_health_known", "")]
    assert (node.opened, len(node.monitor.health())) == (4, 1)
    node.library.users = 0  # the driver is unloaded under way
    await node.look(2)
    assert node.told()[2:] == [("device_health_unknown", ""), ("device_health_known", "")]


async def test_a_device_that_vanishes_is_a_fault_and_keeps_its_place() -> None:
    boards = FakeBoard(), FakeBoard(uuid="GPU-1")
    node = Node(*boards)
    await node.look()
    node.library.users = 0
    node.library.boards.pop()
    await node.look(3)
    assert ("device_fault", "cuda:1") in node.told()
    assert [health.device_id for health in node.monitor.health()] == ["cuda:0", "cuda:1"]
    assert [ledger.device_id for ledger in node.monitor.ledgers()] == ["cuda:0"]
    assert node.monitor.health()[1].measured_at == START


async def test_another_board_in_its_place_begins_without_the_old_ones_faults() -> None:
    board = FakeBoard(xids=[48])
    node = Node(board)
    await node.look()
    assert node.monitor.health()[0].faults != ()
    node.library.boards[:] = [FakeBoard(uuid="GPU-new")]
    node.library.users = 0
    await node.look(2)
    assert node.monitor.health()[0].faults == ()


class Stuck:
    """A driver that does not answer until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.calls = 0

    def read(self, now: datetime, pids: frozenset[int]) -> tuple[DeviceReading, ...]:
        self.calls += 1
        self.let_go.wait(20)
        return ()

    def close(self) -> None:
        raise HardwareUnreadableError("never closed under a call")


async def test_a_driver_that_hangs_is_told_and_not_called_again() -> None:
    stuck, events = Stuck(), list[NodeEvent]()
    monitor = DeviceMonitor(
        engines=NodeEngines(list, lambda _: ()),
        clock=SettableClock(),
        on_event=events.append,
        interval_seconds=1,
        open_devices=lambda: Readers((stuck,)),
        read_seconds_max=0.05,
    )
    await monitor.look()
    await monitor.look()
    assert (stuck.calls, [event.kind for event in events]) == (1, ["device_health_unknown"])
    assert "has not answered" in events[0].message
    stuck.let_go.set()
    while len(events) == 1:
        await monitor.look()
    assert events[1].kind == "device_health_known"


async def test_a_bug_is_contained(caplog: pytest.LogCaptureFixture) -> None:
    node = Node(FakeBoard())
    node.put(7, 7)
    node.processes = None  # type: ignore[assignment]
    await node.look()
    assert node.events[0].message == "reading the devices failed (AttributeError): see the agent's log"
    node.processes = {}
    await node.look()
    assert len(node.monitor.health()) == 1


async def test_what_is_not_read_is_told_once() -> None:
    events: list[NodeEvent] = []
    monitor = DeviceMonitor(
        engines=NodeEngines(list, lambda _: ()),
        clock=SettableClock(),
        on_event=events.append,
        interval_seconds=1,
        open_devices=lambda: Readers(unread="AMD: not read"),
    )
    await monitor.look()
    await monitor.look()
    assert [(event.kind, event.message) for event in events] == [("device_health_unknown", "AMD: not read")]


async def test_it_reads_again_and_again() -> None:
    node = Node(FakeBoard())
    async with TaskScope("test") as scope:
        scope.spawn(node.monitor.run(), name="monitor")
        await eventually(node.monitor.health, "the first reading")
        node.clock.advance(10)
        later = START + timedelta(seconds=10)
        await eventually(lambda: node.monitor.health()[0].measured_at == later, "another reading")
