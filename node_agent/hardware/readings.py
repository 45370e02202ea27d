"""One look at the devices, as the readers hand it to the rules: frozen values, and the Protocol of a reader. Pure.

Made by `nvml` and `cpu`; read by `faults`, `ledger` and `monitor`. `None` always means "this device does not tell".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from node_agent.errors import AgentError
from node_agent.session.facts import Device
from node_agent.session.hardware import DeviceHealth


class HardwareUnreadableError(AgentError):
    """Nothing can be read of the devices now. The message says what to do about it."""

    code = "hardware_unreadable"


@dataclass(frozen=True, slots=True)
class DeviceReading:
    device: Device  # without ceilings
    health: DeviceHealth  # without faults
    memory_free_bytes: int | None = None
    # What processes hold of the device's memory. Of a GPU all that it tells, of a CPU those that were asked for.
    memory_by_pid: Mapping[int, int] | None = None
    load_ratio: float | None = None  # a GPU only: links save power when it idles
    remap_pending: bool | None = None  # rows, or pages on older devices: takes effect with a reset
    remap_failed: bool | None = None
    new_xids: tuple[int, ...] = ()  # since the reading before
    lost: str = ""  # why the driver cannot reach the device any more; "" while it can
    partitioned: bool = False  # MIG: its memory and processes are told per instance, which is not read

    @property
    def device_id(self) -> str:
        return self.health.device_id


class DeviceReader(Protocol):
    """One way to the devices. It may block for long, so it is called in a thread of its own, one call at a time."""

    def read(self, now: datetime, pids: frozenset[int]) -> tuple[DeviceReading, ...]:
        """All devices, in the order of their ids. `pids`: the engines' processes, whose memory is wanted.

        Raises HardwareUnreadableError; a figure that cannot be had is None.
        """

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Readers:
    """What this machine's devices are read with."""

    readers: tuple[DeviceReader, ...] = ()
    unread: str = ""  # for people: whose health is unknown, why, and what to do
