"""The machine as a device, and the control group that may allow it less."""

import os
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from node_agent.hardware.cgroup import MemoryLimit, memory_limit
from node_agent.hardware.cpu import CpuReader
from node_agent.hardware.readings import DeviceReading
from tests.support.device_readings import NOW


def read(limit: MemoryLimit | None, *pids: int) -> DeviceReading:
    return CpuReader(lambda: limit).read(NOW, frozenset(pids))[0]


def test_the_machine_is_told_when_nothing_limits_it() -> None:
    machine = psutil.virtual_memory().total
    for limit in (None, MemoryLimit(machine * 2, 0)):
        reading = read(limit, os.getpid())
        assert (reading.device_id, reading.device.memory_bytes) == ("cpu:0", machine)
        assert reading.memory_free_bytes is not None
        assert 0 < reading.memory_free_bytes <= machine
        assert f"({os.cpu_count()} threads)" in reading.device.kind


def test_a_tighter_limit_is_what_there_is() -> None:
    reading = read(MemoryLimit(2**26, 2**24))
    assert (reading.device.memory_bytes, reading.memory_free_bytes) == (2**26, 2**26 - 2**24)
    assert reading.health.memory_used_bytes == 2**24
    assert read(MemoryLimit(2**26, 2**27)).memory_free_bytes == 0


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


V2 = {
    "a/memory.max": "1000",
    "a/memory.current": "400",
    "a/memory.stat": "anon 1\ninactive_file 100",
    "a/b/memory.max": "max",
    "a/b/memory.current": "5",
}
V1 = {
    "memory/memory.limit_in_bytes": "9223372036854771712",
    "memory/memory.usage_in_bytes": "1",
    "memory/x/memory.limit_in_bytes": "700",
    "memory/x/memory.usage_in_bytes": "300",
    "memory/x/memory.stat": "total_inactive_file 50",
}


@pytest.mark.parametrize(
    ("files", "own", "found"),
    [
        (V2, "0::/a/b", MemoryLimit(1000, 300)),  # the group above it limits
        (V2 | {"a/b/memory.max": "90"}, "0::/a/b", MemoryLimit(90, 5)),
        (V1, "4:cpu,memory:/x\n0::/", MemoryLimit(700, 250)),
        (V1, "4:memory:/", None),  # as large as can be: none
        ({"memory.max": "50", "memory.current": "20"}, "0::/of/the/host", MemoryLimit(50, 20)),  # in a container
        ({"a/memory.max": "?", "a/memory.current": ""}, "0::/a", None),
        ({}, "", None),
    ],
)
def test_limits(tmp_path: Path, files: dict[str, str], own: str, found: MemoryLimit | None) -> None:
    root = tree(tmp_path / "fs", files)
    (tmp_path / "own").write_text(own)
    assert memory_limit(root, tmp_path / "own") == found
