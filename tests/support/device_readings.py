"""Readings of devices to judge, for tests of `node_agent.hardware`."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from node_agent.hardware.readings import DeviceReading
from node_agent.session.facts import Device
from node_agent.session.hardware import DeviceHealth

NOW = datetime(2030, 1, 1, tzinfo=UTC)
GIB = 2**30
MakeReading = Callable[..., DeviceReading]


def make_reading(**given: Any) -> DeviceReading:
    """A healthy H200 that nobody uses, but for what is given. Fields of its health are given by their names, too."""
    of_health = {name: given.pop(name) for name in list(given) if name in DeviceHealth.__dataclass_fields__}
    health = replace(DeviceHealth("cuda:0", NOW, memory_used_bytes=0), **of_health)
    device = Device(health.device_id, "NVIDIA H200", "cuda", memory_bytes=given.pop("total_bytes", 100 * GIB))
    return DeviceReading(**{"device": device, "health": health, "memory_by_pid": {}, **given})
