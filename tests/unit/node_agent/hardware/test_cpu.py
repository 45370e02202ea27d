"""The machine as a device, and the control group that may allow it less."""

import os
from collections.abc import Mapping
from datetime import timedelta
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


def process(proc: Path, resident_bytes: int, share_bytes: int | None) -> None:
    files = {"7/statm": f"99999 {resident_bytes // os.sysconf('SC_PAGE_SIZE')} 1 1 0 1 0"}
    if share_bytes is not None:
        files["7/smaps_rollup"] = f"5-6 ---p 00000000 00:00 0 [rollup]\nRss: 1 kB\nPss: {share_bytes // 1024} kB"
    tree(proc, files)


def test_a_process_share_is_read_again_when_its_size_changes_or_a_minute_has_passed(tmp_path: Path) -> None:
    reader = CpuReader(lambda: None, proc=tmp_path)

    def held(seconds: float, *pids: int) -> object:
        (reading,) = reader.read(NOW + timedelta(seconds=seconds), frozenset(pids))
        return reading.memory_by_pid

    process(tmp_path, 2**30, 2**29)
    assert held(0, 7, 8) == {7: 2**29}, "8 is no process"
    process(tmp_path, 2**30 + 2**20, 2**28)
    assert held(50, 7) == {7: 2**29}, "hardly larger: nothing to be read anew"
    assert held(61, 7) == {7: 2**28}, "but no longer than a minute"
    process(tmp_path, 2**31, 2**30)
    assert held(62, 7) == {7: 2**30}
    process(tmp_path, 2**31, 2**27)
    assert held(-3600, 7) == {7: 2**27}, "a clock that was put back does not make it young"
    assert held(-3599) == {}
    process(tmp_path, 2**31, 2**26)
    assert held(-3598, 7) == {7: 2**26}, "forgotten when the process was no engine's any more"


def test_where_shares_may_not_be_read_the_resident_size_counts(tmp_path: Path) -> None:
    process(tmp_path, 2**30, None)
    (reading,) = CpuReader(lambda: None, proc=tmp_path).read(NOW, frozenset({7}))
    assert reading.memory_by_pid == {7: 2**30}
