"""The inventory of this node's devices, asked of torch in a child process. Called when the agent starts, and by
`hardware.probing`."""

from pathlib import Path
from typing import Any

from node_agent.errors import ProbeError
from node_agent.probes.child import run_child
from node_agent.session.facts import Device

# Importing torch alone can take half a minute on a cold disk.
_SECONDS_MAX = 180.0


async def probe_devices(engine_python: Path, *, seconds_max: float = _SECONDS_MAX) -> tuple[Device, ...]:
    """All GPUs, or the CPU where there is none; without ceilings. Raises ProbeError."""
    answer = await run_child(engine_python, "devices", seconds_max=seconds_max)
    try:
        found = tuple(_device(item) for item in answer["devices"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProbeError(f"the probe described a device in a way that makes no sense: {error}") from error
    if not found:
        raise ProbeError("the probe found no device")
    return found


def _device(item: dict[str, Any]) -> Device:
    memory_bytes = item.get("memory_bytes")
    return Device(
        device_id=str(item["device_id"]),
        kind=str(item["kind"]),
        family=str(item["family"]),
        memory_bytes=None if memory_bytes is None else int(memory_bytes),
        driver_version=str(item.get("driver_version", "")),
        compute_capability=str(item.get("compute_capability", "")),
        uuid=str(item.get("uuid", "")),
    )
