"""Which reader this machine's devices are read with. Called by `monitor`, in a thread: opening a driver can take long."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from node_agent.hardware.cpu import CpuReader
from node_agent.hardware.nvml import NvmlReader
from node_agent.hardware.readings import HardwareUnreadableError, Readers

_AMD_COMPUTE = Path("/dev/kfd")
_PCI_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA, _DISPLAY = "0x10de", "0x03"
_NO_AMD = (
    "the health of AMD devices is not read: temperature, faults and memory of this node's GPUs are unknown; watch them "
    "with amd-smi"
)
_NO_DRIVER = (
    "this machine has an NVIDIA device, but its driver is not loaded: no engine can use it, and its health is unknown; "
    "load the driver (modprobe nvidia), or install it anew"
)


def nvml_library() -> Any:
    """NVIDIA's binding. It loads the driver's library only when asked to."""
    import pynvml

    return pynvml


def open_readers(
    library: Callable[[], Any] = nvml_library, *, amd_compute: Path = _AMD_COMPUTE, pci_devices: Path = _PCI_DEVICES
) -> Readers:
    """GPUs, or the CPU where there is none. Raises HardwareUnreadableError when there are some that do not answer."""
    try:
        nvml = library()
    except ImportError as error:
        raise HardwareUnreadableError(
            f"the package nvidia-ml-py cannot be used ({error}): the health of devices is unknown; install the agent anew"
        ) from error
    nvidia = NvmlReader.open(nvml)
    if nvidia is not None:
        return Readers((nvidia,))
    if amd_compute.exists():
        return Readers(unread=_NO_AMD)
    if _has_nvidia(pci_devices):
        return Readers((CpuReader(),), unread=_NO_DRIVER)
    return Readers((CpuReader(),))


def _has_nvidia(pci_devices: Path) -> bool:
    try:
        return any(
            (device / "vendor").read_text().strip() == _NVIDIA
            and (device / "class").read_text().strip().startswith(_DISPLAY)
            for device in pci_devices.iterdir()
        )
    except OSError:
        return False
