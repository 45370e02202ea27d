"""NVIDIA's management library as `pynvml` shows it, over boards that tests describe: a real little implementation.

Its names, numbers and errors are those of the real binding, which a contract test compares.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass
class FakeBoard:
    """A healthy device that idles. What is in `unsupported` it does not tell."""

    uuid: str = "GPU-0"
    name: str = "NVIDIA H200"
    total: int = 150_754_820_096
    used: int = 600 * 2**20
    processes: dict[int, int | None] = field(default_factory=dict)
    temperature: int = 41
    slowdown_temperature: int = 92
    power_milliwatts: int = 78_000
    power_limit_milliwatts: int = 700_000
    clock_megahertz: int = 345
    clock_max_megahertz: int = 1980
    memory_clock_megahertz: int = 3201
    throttle_mask: int = 0x1
    ecc: tuple[int, int] = (0, 0)  # corrected, uncorrected
    rows: tuple[int, int, int, int] | None = (0, 0, 0, 0)  # corrected, uncorrected, pending, failure
    pages: int = 0
    pcie: tuple[int, int, int, int] = (5, 16, 5, 16)  # generation, width, both at most
    links: tuple[int, ...] = (1,) * 18
    load_percent: int = 0
    mig: int | None = 0
    xids: list[int] = field(default_factory=list)  # that nobody has taken yet
    lost: int = 0  # the error that every query gives
    unsupported: frozenset[str] = frozenset()


class FakeNvmlError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class FakeNvml:
    NVMLError = FakeNvmlError
    NVML_ERROR_UNINITIALIZED = 1
    NVML_ERROR_INVALID_ARGUMENT = 2
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_TIMEOUT = 10
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_ERROR_RESET_REQUIRED = 16
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18
    NVML_ERROR_GPU_NOT_FOUND = 28
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_TEMPERATURE_GPU = 0
    NVML_TEMPERATURE_THRESHOLD_SLOWDOWN = 1
    NVML_MEMORY_ERROR_TYPE_CORRECTED = 0
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0
    NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS = 0
    NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR = 1
    NVML_NVLINK_MAX_LINKS = 36
    NVML_FEATURE_ENABLED = 1
    NVML_DEVICE_MIG_ENABLE = 1
    nvmlEventTypeXidCriticalError = 8  # noqa: N815 - the library's name

    def __init__(self, *boards: FakeBoard, init_error: int = 0) -> None:
        self.boards = list(boards)
        self.init_error = init_error
        self.users = 0

    # A query of the real library's; anything else is an AttributeError, as it is there.
    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in QUERIES:
            raise AttributeError(name)
        return lambda *arguments: self._query(name, *arguments)

    def _query(self, name: str, *arguments: Any) -> Any:
        if name == "nvmlInit":
            self._fail_if(self.init_error)
            self.users += 1
            return None
        if name == "nvmlShutdown":
            self._fail_if(0 if self.users else self.NVML_ERROR_UNINITIALIZED)
            self.users -= 1
            return None
        self._fail_if(0 if self.users else self.NVML_ERROR_UNINITIALIZED)
        if name in ("nvmlDeviceGetCount", "nvmlSystemGetDriverVersion", "nvmlEventSetCreate", "nvmlEventSetFree"):
            return {
                "nvmlDeviceGetCount": len(self.boards),
                "nvmlSystemGetDriverVersion": "570.86.15",
                "nvmlEventSetCreate": [],
            }.get(name)
        if name == "nvmlDeviceGetHandleByIndex":
            self._fail_if(self.boards[arguments[0]].lost)
            return self.boards[arguments[0]]
        if name == "nvmlDeviceRegisterEvents":
            board, _, events = arguments
            events.append(board)
            return None
        board = arguments[0]
        if name == "nvmlEventSetWait":
            [board] = arguments[0]
            self._fail_if(0 if board.xids else self.NVML_ERROR_TIMEOUT)
            return SimpleNamespace(eventType=self.nvmlEventTypeXidCriticalError, eventData=board.xids.pop(0))
        self._fail_if(board.lost or (self.NVML_ERROR_NOT_SUPPORTED if name in board.unsupported else 0))
        return QUERIES[name](self, *arguments)

    def _fail_if(self, error: int) -> None:
        if error:
            raise FakeNvmlError(error)


def _rows(nvml: FakeNvml, board: FakeBoard) -> Any:
    nvml._fail_if(nvml.NVML_ERROR_NOT_SUPPORTED if board.rows is None else 0)
    return board.rows


def _mig(nvml: FakeNvml, board: FakeBoard) -> Any:
    nvml._fail_if(nvml.NVML_ERROR_NOT_SUPPORTED if board.mig is None else 0)
    return [board.mig, board.mig]


def _link(nvml: FakeNvml, board: FakeBoard, link: int) -> int:
    nvml._fail_if(nvml.NVML_ERROR_INVALID_ARGUMENT if link >= len(board.links) else 0)
    return board.links[link]


def _processes(_: FakeNvml, board: FakeBoard) -> list[Any]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in board.processes.items()]


_OF_THE_LIBRARY = (
    *("nvmlInit", "nvmlShutdown", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlSystemGetDriverVersion"),
    *("nvmlEventSetCreate", "nvmlEventSetFree", "nvmlEventSetWait", "nvmlDeviceRegisterEvents"),
)
QUERIES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_OF_THE_LIBRARY, lambda *_: None),
    "nvmlDeviceGetUUID": lambda _, board: board.uuid,
    "nvmlDeviceGetName": lambda _, board: board.name,
    "nvmlDeviceGetMemoryInfo": lambda _, board: SimpleNamespace(
        total=board.total, used=board.used, free=board.total - board.used
    ),
    "nvmlDeviceGetCudaComputeCapability": lambda *_: (9, 0),
    "nvmlDeviceGetTotalEccErrors": lambda _, board, kind, _counter: board.ecc[kind],
    "nvmlDeviceGetRemappedRows": _rows,
    "nvmlDeviceGetRetiredPages": lambda _, board, _cause: list(range(board.pages)),
    "nvmlDeviceGetRetiredPagesPendingStatus": lambda *_: 0,
    "nvmlDeviceGetTemperature": lambda _, board, _sensor: board.temperature,
    "nvmlDeviceGetTemperatureV": lambda _, board, _sensor: board.temperature,
    "nvmlDeviceGetTemperatureThreshold": lambda _, board, _which: board.slowdown_temperature,
    "nvmlDeviceGetPowerUsage": lambda _, board: board.power_milliwatts,
    "nvmlDeviceGetEnforcedPowerLimit": lambda _, board: board.power_limit_milliwatts,
    "nvmlDeviceGetClockInfo": lambda _, board, kind: (
        board.clock_megahertz if kind == 1 else board.memory_clock_megahertz
    ),
    "nvmlDeviceGetMaxClockInfo": lambda _, board, _kind: board.clock_max_megahertz,
    "nvmlDeviceGetCurrentClocksEventReasons": lambda _, board: board.throttle_mask,
    "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _, board: board.throttle_mask,
    "nvmlDeviceGetCurrPcieLinkGeneration": lambda _, board: board.pcie[0],
    "nvmlDeviceGetCurrPcieLinkWidth": lambda _, board: board.pcie[1],
    "nvmlDeviceGetMaxPcieLinkGeneration": lambda _, board: board.pcie[2],
    "nvmlDeviceGetMaxPcieLinkWidth": lambda _, board: board.pcie[3],
    "nvmlDeviceGetNvLinkState": _link,
    "nvmlDeviceGetComputeRunningProcesses": _processes,
    "nvmlDeviceGetGraphicsRunningProcesses": lambda *_: [],
    "nvmlDeviceGetUtilizationRates": lambda _, board: SimpleNamespace(gpu=board.load_percent, memory=0),
    "nvmlDeviceGetMigMode": _mig,
}
