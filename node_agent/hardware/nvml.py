"""NVIDIA devices, read through NVML: the driver's own library, which takes no memory on them.

Opened by `readers`, called by `monitor` in a thread. NVML's names, units and bit masks are translated here and nowhere
else. Every single query may be unsupported, forbidden or gone with the next driver: that figure is None then.

ECC counts are the volatile ones, since the driver was loaded: they tell what is happening now, and a reset clears them.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from node_agent.hardware.readings import DeviceReading, HardwareUnreadableError
from node_agent.session.facts import Device
from node_agent.session.hardware import DeviceHealth

_MEGAHERTZ = 1e6
_XIDS_KEPT = 16
_XIDS_A_READING_MAX = 64
# NVML's bit → our name. An idle device's low clocks cost nothing, so that bit is not among them.
_THROTTLES = {
    0x002: "applications_clocks",
    0x004: "power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal",
    0x040: "hw_thermal",
    0x080: "power_brake",
    0x100: "display_clocks",
}
_LOST = {
    "NVML_ERROR_GPU_IS_LOST": "the driver cannot reach it any more: it fell off the bus",
    "NVML_ERROR_GPU_NOT_FOUND": "the driver does not find it any more",
    "NVML_ERROR_RESET_REQUIRED": "the driver says that it must be reset",
}


@dataclass
class _Board:
    """A device as found when NVML was opened, so that it is still described once it is lost."""

    handle: Any  # None: it was lost already
    device: Device
    events: Any = None
    xids: tuple[int, ...] = ()


class NvmlReader:
    """`library` is pynvml, or has its form."""

    @classmethod
    def open(cls, library: Any) -> "NvmlReader | None":
        """None where there is no driver of NVIDIA's, or no device. Raises HardwareUnreadableError for a broken one."""
        try:
            library.nvmlInit()
            reader = cls(library, library.nvmlDeviceGetCount())
        except library.NVMLError as error:
            if error.value in (library.NVML_ERROR_LIBRARY_NOT_FOUND, library.NVML_ERROR_DRIVER_NOT_LOADED):
                return None
            raise HardwareUnreadableError(
                f"NVIDIA's driver does not answer ({error}): the health of its devices is unknown. After an upgrade of "
                "the driver, restart the node; otherwise see what nvidia-smi says"
            ) from error
        if reader._boards:
            return reader
        reader.close()
        return None

    def __init__(self, library: Any, count: int) -> None:
        self._nvml = library
        self._lost_codes = {getattr(library, name): why for name, why in _LOST.items()}
        self._codes_seen: set[int] = set()
        self._boards = [self._found(index) for index in range(count)]

    def read(self, now: datetime, pids: frozenset[int]) -> tuple[DeviceReading, ...]:
        readings = tuple(self._reading(number, now) for number in range(len(self._boards)))
        if self._nvml.NVML_ERROR_UNINITIALIZED in self._codes_seen:
            raise HardwareUnreadableError("NVIDIA's driver was unloaded: the health of its devices is unknown")
        return readings

    def close(self) -> None:
        for board in self._boards:
            if board.events is not None:
                self._ask("nvmlEventSetFree", board.events)
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()
        self._boards = []

    # ---- what does not change

    def _found(self, index: int) -> _Board:
        handle = self._ask("nvmlDeviceGetHandleByIndex", index)
        capability = self._ask("nvmlDeviceGetCudaComputeCapability", handle)
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        device = Device(
            # CUDA counts in the order of the PCI bus, as NVML does, because the agent has it do so.
            device_id=f"cuda:{index}",
            kind=_text(self._ask("nvmlDeviceGetName", handle)) or "NVIDIA device",
            family="cuda",
            memory_bytes=None if memory is None else int(memory.total),
            driver_version=_text(self._ask("nvmlSystemGetDriverVersion")),
            compute_capability="" if capability is None else f"{capability[0]}.{capability[1]}",
            uuid=_text(self._ask("nvmlDeviceGetUUID", handle)),
        )
        return _Board(handle, device, events=None if handle is None else self._listen(handle))

    def _listen(self, handle: Any) -> Any:
        """A set of its own for each device: the event of a lost one could not be asked which it came from."""
        events = self._ask("nvmlEventSetCreate")
        if events is None:
            return None
        try:
            self._nvml.nvmlDeviceRegisterEvents(handle, self._nvml.nvmlEventTypeXidCriticalError, events)
        except (self._nvml.NVMLError, AttributeError):
            self._ask("nvmlEventSetFree", events)
            return None
        return events

    # ---- one look

    def _reading(self, number: int, now: datetime) -> DeviceReading:
        self._codes_seen.clear()
        board = self._boards[number]
        if board.handle is None:
            board = self._boards[number] = self._found(number)  # perhaps it is back
        handle, ask = board.handle, self._ask
        new_xids = tuple(self._xids(board))
        board.xids = (*board.xids, *new_xids)[-_XIDS_KEPT:]
        memory = ask("nvmlDeviceGetMemoryInfo", handle)
        mig = ask("nvmlDeviceGetMigMode", handle)
        utilization = ask("nvmlDeviceGetUtilizationRates", handle)
        remapped, remap_pending, remap_failed = self._remapped(handle)
        links = self._links(handle)
        health = DeviceHealth(
            device_id=board.device.device_id,
            measured_at=now,
            memory_used_bytes=None if memory is None else int(memory.used),
            temperature_celsius=_number(self._temperature(handle)),
            temperature_limit_celsius=_number(
                ask("nvmlDeviceGetTemperatureThreshold", handle, self._nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)
            ),
            power_watts=_number(ask("nvmlDeviceGetPowerUsage", handle), 1e-3),
            power_limit_watts=_number(ask("nvmlDeviceGetEnforcedPowerLimit", handle), 1e-3),
            compute_clock_hertz=_number(ask("nvmlDeviceGetClockInfo", handle, self._nvml.NVML_CLOCK_SM), _MEGAHERTZ),
            compute_clock_max_hertz=_number(
                ask("nvmlDeviceGetMaxClockInfo", handle, self._nvml.NVML_CLOCK_SM), _MEGAHERTZ
            ),
            memory_clock_hertz=_number(ask("nvmlDeviceGetClockInfo", handle, self._nvml.NVML_CLOCK_MEM), _MEGAHERTZ),
            throttle_reasons=self._throttles(handle),
            ecc_corrected_count=self._ecc(handle, self._nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            ecc_uncorrected_count=self._ecc(handle, self._nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
            rows_remapped_count=remapped,
            pcie_generation=ask("nvmlDeviceGetCurrPcieLinkGeneration", handle),
            pcie_generation_max=ask("nvmlDeviceGetMaxPcieLinkGeneration", handle),
            pcie_width=ask("nvmlDeviceGetCurrPcieLinkWidth", handle),
            pcie_width_max=ask("nvmlDeviceGetMaxPcieLinkWidth", handle),
            nvlinks_active_count=sum(links) if links else None,
            nvlinks_count=len(links) or None,
            recent_xids=board.xids,
        )
        return DeviceReading(
            device=board.device,
            health=health,
            memory_free_bytes=None if memory is None else int(memory.free),
            memory_by_pid=self._memory_by_pid(handle),
            load_ratio=_number(None if utilization is None else utilization.gpu, 0.01),
            remap_pending=remap_pending,
            remap_failed=remap_failed,
            new_xids=new_xids,
            lost=next((why for code, why in self._lost_codes.items() if code in self._codes_seen), ""),
            partitioned=mig is not None and mig[0] == self._nvml.NVML_DEVICE_MIG_ENABLE,
        )

    def _xids(self, board: _Board) -> Iterator[int]:
        """What the driver has kept for us since the last look. Never waits."""
        for _ in range(_XIDS_A_READING_MAX if board.events is not None else 0):
            event = self._ask("nvmlEventSetWait", board.events, 0)  # a time-out is an error, too
            if event is None:
                return
            if event.eventType == self._nvml.nvmlEventTypeXidCriticalError:
                yield int(event.eventData)

    def _temperature(self, handle: Any) -> Any:
        """The older query is leaving the library, the newer one is not in every driver yet."""
        told = self._ask("nvmlDeviceGetTemperatureV", handle, self._nvml.NVML_TEMPERATURE_GPU)
        if told is None:
            told = self._ask("nvmlDeviceGetTemperature", handle, self._nvml.NVML_TEMPERATURE_GPU)
        return told

    def _throttles(self, handle: Any) -> tuple[str, ...]:
        mask = self._ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
        if mask is None:
            mask = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        return tuple(name for bit, name in _THROTTLES.items() if (mask or 0) & bit)

    def _ecc(self, handle: Any, kind: int) -> int | None:
        count = self._ask("nvmlDeviceGetTotalEccErrors", handle, kind, self._nvml.NVML_VOLATILE_ECC)
        return None if count is None else int(count)

    def _remapped(self, handle: Any) -> tuple[int | None, bool | None, bool | None]:
        """Rows remapped, or pages retired before Ampere; whether more wait for a reset; whether it failed."""
        rows = self._ask("nvmlDeviceGetRemappedRows", handle)
        if rows is not None:
            corrected, uncorrected, pending, failed = rows
            return int(corrected) + int(uncorrected), bool(pending), bool(failed)
        causes = (
            self._nvml.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,
            self._nvml.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
        )
        pages = [self._ask("nvmlDeviceGetRetiredPages", handle, cause) for cause in causes]
        pending = self._ask("nvmlDeviceGetRetiredPagesPendingStatus", handle)
        count = None if None in pages else sum(len(page) for page in pages)
        return count, None if pending is None else bool(pending), None

    def _links(self, handle: Any) -> list[bool]:
        """Of each NVLink that the device has, whether it is up."""
        states = []
        for link in range(self._nvml.NVML_NVLINK_MAX_LINKS):
            state = self._ask("nvmlDeviceGetNvLinkState", handle, link)
            if state is None:
                break  # it has no link of that number, nor of a higher one
            states.append(state == self._nvml.NVML_FEATURE_ENABLED)
        return states

    def _memory_by_pid(self, handle: Any) -> dict[int, int] | None:
        """None when not told, or not told of every process."""
        found: dict[int, int] = {}
        asked = (
            self._ask("nvmlDeviceGetComputeRunningProcesses", handle),
            self._ask("nvmlDeviceGetGraphicsRunningProcesses", handle),
        )
        if asked[0] is None:
            return None
        for process in (*asked[0], *(asked[1] or ())):
            if process.usedGpuMemory is None:
                return None
            found[int(process.pid)] = max(found.get(int(process.pid), 0), int(process.usedGpuMemory))
        return found

    def _ask(self, query: str, *arguments: Any) -> Any:
        """None when there is no answer; why is in `_codes_seen`."""
        if arguments and arguments[0] is None:
            return None
        try:
            return getattr(self._nvml, query)(*arguments)
        except self._nvml.NVMLError as error:
            self._codes_seen.add(error.value)
        except AttributeError:
            pass  # this release of the library does not have the query
        return None


def _number(value: Any, unit: float = 1.0) -> float | None:
    return None if value is None else float(value) * unit


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
