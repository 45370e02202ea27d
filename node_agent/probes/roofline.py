"""Both roofs of a device: how many FLOP/s and bytes/s it really reaches, measured in a child process and kept on disk.

Called by `stoker-agent probe` and when the agent starts. A measurement is kept with its date, driver and versions, and
counts only for the device and driver that it was made on; without one the vendor's datasheet is told, as such.
"""

import json
import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from node_agent.clock import Clock
from node_agent.errors import ProbeError
from node_agent.probes.child import run_child
from node_agent.probes.datasheet import datasheet_ceilings
from node_agent.session.facts import Ceiling, Device, Source

SECONDS_MAX = 10.0
# On top of the measuring itself: importing torch, and making the matrices.
_START_SECONDS_MAX = 180.0
_VERSION = 1


async def probe_roofline(
    engine_python: Path, device: Device, *, state_dir: Path, clock: Clock, seconds_max: float = SECONDS_MAX
) -> tuple[Ceiling, ...]:
    """Measures for about `seconds_max`, keeps the result, and returns it. Raises ProbeError.

    It takes the whole device: the caller makes sure that no engine runs on it.
    """
    answer = await run_child(
        engine_python,
        *("roofline", device.device_id, f"{seconds_max:g}"),
        seconds_max=seconds_max + _START_SECONDS_MAX,
    )
    measured_at = clock.now()
    try:
        bytes_per_second = _positive(answer["bytes_per_second"])
        ceilings = tuple(
            Ceiling(str(dtype), _positive(flops), bytes_per_second, Source.MEASURED, measured_at)
            for dtype, flops in answer["flops_per_second"].items()
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProbeError(f"the probe measured something that makes no sense: {error}") from error
    if not ceilings:
        raise ProbeError(f"the probe could measure nothing on {device.device_id}")
    _save(state_dir, device, ceilings, torch_version=str(answer.get("torch_version", "")))
    return ceilings


def with_ceilings(device: Device, state_dir: Path) -> Device:
    """The device with what was measured on it before, or else with its datasheet, or else with nothing."""
    return replace(device, ceilings=_load(state_dir, device) or datasheet_ceilings(device.kind))


def _save(state_dir: Path, device: Device, ceilings: tuple[Ceiling, ...], *, torch_version: str) -> None:
    path = _path(state_dir, device)
    record = {
        "version": _VERSION,
        "device_id": device.device_id,
        "kind": device.kind,
        "driver_version": device.driver_version,
        "torch_version": torch_version,
        "measured_at": ceilings[0].measured_at.isoformat() if ceilings[0].measured_at else None,
        "bytes_per_second": ceilings[0].bytes_per_second,
        "flops_per_second": {ceiling.dtype: ceiling.flops_per_second for ceiling in ceilings},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(record, indent=1) + "\n")
        draft.replace(path)
    except OSError as error:
        raise ProbeError(f"measured, but it cannot be kept in {path}: {error.strerror}") from error


def _load(state_dir: Path, device: Device) -> tuple[Ceiling, ...]:
    """Empty when there is none, when it was made on another device or driver, or when it cannot be read."""
    try:
        record: dict[str, Any] = json.loads(_path(state_dir, device).read_text())
        made_on = (record["version"], record["kind"], record["driver_version"])
        if made_on != (_VERSION, device.kind, device.driver_version):
            return ()
        measured_at = datetime.fromisoformat(record["measured_at"])
        bytes_per_second = _positive(record["bytes_per_second"])
        return tuple(
            Ceiling(str(dtype), _positive(flops), bytes_per_second, Source.MEASURED, measured_at)
            for dtype, flops in record["flops_per_second"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()


def _path(state_dir: Path, device: Device) -> Path:
    return state_dir / "roofline" / f"{device.device_id.replace(':', '-').replace('/', '-')}.json"


def _positive(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or number <= 0:
        raise ValueError(f"{value!r} is no rate")
    return number
