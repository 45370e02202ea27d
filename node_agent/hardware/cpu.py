"""The machine's processors and memory as a device of their own kind, "cpu:0", for nodes without a GPU.

Made by `readers`, called by `monitor` in a thread. Sensors and clocks are told where the machine has them.

A process' memory is its proportional share (PSS): pages that several processes share are counted once in all. Where
that may not be read it is the resident size, which counts them for each. The kernel walks all pages for a share, and
meanwhile holds up the process where it wants more memory. So a share that was read counts for a minute, as long as the
resident size, which costs nothing, stays the same within a sixty-fourth.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from node_agent.hardware.cgroup import MemoryLimit, memory_limit
from node_agent.hardware.readings import DeviceReading
from node_agent.session.facts import Device
from node_agent.session.hardware import DeviceHealth

_MEGAHERTZ = 1e6
# The kernel's drivers of processors' own sensors.
_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
_SHARE_SECONDS_MAX = 60.0
_SAME_SIZE_RATIO = 1 / 64
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class _Share:
    read_at: datetime
    resident_bytes: int
    held_bytes: int

    def holds(self, resident_bytes: int, now: datetime) -> bool:
        age_seconds = abs((now - self.read_at).total_seconds())
        change_bytes = abs(resident_bytes - self.resident_bytes)
        return age_seconds < _SHARE_SECONDS_MAX and change_bytes <= self.resident_bytes * _SAME_SIZE_RATIO


class CpuReader:
    def __init__(self, limit: Callable[[], MemoryLimit | None] = memory_limit, *, proc: Path = _PROC) -> None:
        self._limit = limit
        self._proc = proc
        self._shares: dict[int, _Share] = {}
        self._kind = _kind()

    def read(self, now: datetime, pids: frozenset[int]) -> tuple[DeviceReading, ...]:
        total, available = self._memory()
        temperature, limit = _temperature()
        clock, clock_max = _clocks()
        self._shares = {pid: share for pid in pids if (share := self._share(pid, now)) is not None}
        return (
            DeviceReading(
                device=Device("cpu:0", self._kind, "cpu", memory_bytes=total),
                health=DeviceHealth(
                    device_id="cpu:0",
                    measured_at=now,
                    memory_used_bytes=total - available,
                    temperature_celsius=temperature,
                    temperature_limit_celsius=limit,
                    compute_clock_hertz=clock,
                    compute_clock_max_hertz=clock_max,
                ),
                memory_free_bytes=available,
                memory_by_pid={pid: share.held_bytes for pid, share in self._shares.items()},
            ),
        )

    def close(self) -> None:
        """Nothing is held."""

    def _share(self, pid: int, now: datetime) -> _Share | None:
        process = self._proc / str(pid)
        resident = _resident_bytes(process)
        if resident is None:
            return None
        known = self._shares.get(pid)
        if known is not None and known.holds(resident, now):
            return known
        told = _proportional_bytes(process)
        return _Share(now, resident, resident if told is None else told)

    def _memory(self) -> tuple[int, int]:
        """Total, and what could still be had: of the machine, or of a control group that allows less."""
        machine = psutil.virtual_memory()
        limited = self._limit()
        if limited is None or limited.limit_bytes >= machine.total:
            return machine.total, min(machine.available, machine.total)
        return limited.limit_bytes, max(0, min(machine.available, limited.limit_bytes - limited.used_bytes))


def _resident_bytes(process: Path) -> int | None:
    """None for a process that is gone."""
    try:
        return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _proportional_bytes(process: Path) -> int | None:
    """None for another user's process, or with an old kernel."""
    try:
        for line in (process / "smaps_rollup").read_text(errors="replace").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _temperature() -> tuple[float | None, float | None]:
    """Of the hottest part, and where that one is slowed down."""
    try:
        sensors = psutil.sensors_temperatures()
    except (AttributeError, OSError, ValueError):
        return None, None
    found = [part for name in _SENSORS for part in sensors.get(name, ()) if part.current > 0]
    if not found:
        return None, None
    hottest = max(found, key=lambda part: part.current)
    return float(hottest.current), float(hottest.high) if hottest.high else None


def _clocks() -> tuple[float | None, float | None]:
    """0 stands for unknown there, as nothing does on some machines."""
    try:
        clock: Any = psutil.cpu_freq()
        return clock.current * _MEGAHERTZ or None, clock.max * _MEGAHERTZ or None
    except (AttributeError, OSError, ValueError, NotImplementedError):
        return None, None


def _kind() -> str:
    """As `probes.roofline_child` names it, so that both speak of the same device."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, 'CPU')} ({os.cpu_count()} threads)"
