"""Both roofs of a device: how many FLOP/s and bytes/s it really reaches, measured in a child process and kept on disk.

Called by `hardware.probing` and when the agent starts. A measurement is kept with its date and versions, and counts
only for the very board and driver that it was made on; without one the vendor's datasheet is told, as such.
"""

import json
import math
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from node_agent.clock import Clock
from node_agent.errors import ProbeError
from node_agent.probes.child import run_child
from node_agent.probes.datasheet import datasheet_ceilings
from node_agent.session.facts import Ceiling, Device
from node_agent.session.values import Source

SECONDS_MAX = 10.0
# On top of the measuring itself: importing torch.
_START_SECONDS_MAX = 180.0
_VERSION = 2


@dataclass(frozen=True, slots=True)
class Roofline:
    """One measurement of one device."""

    measured_at: datetime
    flops_per_second: tuple[tuple[str, float], ...]  # by dtype
    read_bytes_per_second: float
    copy_bytes_per_second: float  # read and written
    torch_version: str = ""
    runtime_version: str = ""  # of CUDA or ROCm; "" on a CPU
    disturbed: bool = False  # an engine ran on this node meanwhile: the figures are too low

    @property
    def ceilings(self) -> tuple[Ceiling, ...]:
        """The memory's roof is the higher of both ways to use it."""
        bytes_per_second = max(self.read_bytes_per_second, self.copy_bytes_per_second)
        return tuple(
            Ceiling(dtype, flops, bytes_per_second, Source.MEASURED, self.measured_at, disturbed=self.disturbed)
            for dtype, flops in self.flops_per_second
        )


async def measure_roofline(
    engine_python: Path, device: Device, *, clock: Clock, seconds_max: float = SECONDS_MAX
) -> Roofline:
    """Measures for at most `seconds_max`. Raises ProbeError.

    It takes the whole device: the caller makes sure that no engine runs on it, or marks the result as disturbed.
    """
    answer = await run_child(
        engine_python,
        *("roofline", device.device_id, f"{seconds_max:g}"),
        seconds_max=seconds_max + _START_SECONDS_MAX,
    )
    try:
        measured = _decode({**answer, "measured_at": clock.now().isoformat(), "disturbed": False})
        uuid = str(answer.get("uuid", ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProbeError(f"the probe measured something that makes no sense: {error}") from error
    if not measured.flops_per_second:
        raise ProbeError(f"the probe could measure nothing on {device.device_id}")
    if uuid != device.uuid:
        raise ProbeError(f"{device.device_id} became another device while it was measured: probe again")
    return measured


def keep_roofline(state_dir: Path, device: Device, measured: Roofline) -> None:
    """Raises ProbeError. A disturbed measurement never takes the place of an undisturbed one of the same device."""
    kept = load_roofline(state_dir, device)
    if measured.disturbed and kept is not None and not kept.disturbed:
        return
    path = _path(state_dir, device)
    record = {
        "version": _VERSION,
        "device": _board(device),
        "measured_at": measured.measured_at.isoformat(),
        "disturbed": measured.disturbed,
        "torch_version": measured.torch_version,
        "runtime_version": measured.runtime_version,
        "read_bytes_per_second": measured.read_bytes_per_second,
        "copy_bytes_per_second": measured.copy_bytes_per_second,
        "flops_per_second": dict(measured.flops_per_second),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(record, indent=1) + "\n")
        draft.replace(path)
    except OSError as error:
        raise ProbeError(f"measured, but it cannot be kept in {path}: {error.strerror}") from error


def load_roofline(state_dir: Path, device: Device) -> Roofline | None:
    """None when there is none, when it was made on another board or driver, or when it cannot be read."""
    try:
        record: dict[str, Any] = json.loads(_path(state_dir, device).read_text())
        if (record["version"], record["device"]) != (_VERSION, _board(device)):
            return None
        return _decode(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def with_ceilings(device: Device, state_dir: Path) -> Device:
    """The device with what was measured on it before, or else with its datasheet, or else with nothing."""
    kept = load_roofline(state_dir, device)
    return replace(device, ceilings=datasheet_ceilings(device.kind) if kept is None else kept.ceilings)


def _board(device: Device) -> dict[str, str]:
    """What must be the same for a measurement to count."""
    return {"kind": device.kind, "uuid": device.uuid, "driver_version": device.driver_version}


def _decode(data: dict[str, Any]) -> Roofline:
    return Roofline(
        measured_at=datetime.fromisoformat(data["measured_at"]),
        flops_per_second=tuple((str(dtype), _positive(flops)) for dtype, flops in data["flops_per_second"].items()),
        read_bytes_per_second=_positive(data["read_bytes_per_second"]),
        copy_bytes_per_second=_positive(data["copy_bytes_per_second"]),
        torch_version=str(data.get("torch_version", "")),
        runtime_version=str(data.get("runtime_version", "")),
        disturbed=bool(data["disturbed"]),
    )


def _path(state_dir: Path, device: Device) -> Path:
    return state_dir / "roofline" / f"{device.device_id.replace(':', '-').replace('/', '-')}.json"


def _positive(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or number <= 0:
        raise ValueError(f"{value!r} is no rate")
    return number
