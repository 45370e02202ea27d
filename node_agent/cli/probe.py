"""`stoker-agent probe`: measure what this node's devices really reach, and keep it for the reports."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node_agent.cli.options import configuration, given, output
from node_agent.clock import SystemClock
from node_agent.errors import AgentError, ProbeError
from node_agent.probes.devices import probe_devices
from node_agent.probes.roofline import probe_roofline
from node_agent.session.facts import Ceiling, Device
from node_agent.settings import AgentSettings, load
from node_agent.supervisor.process import identify
from node_agent.supervisor.records import EngineDirectory, recorded_engine_ids


@click.command()
@click.option("--device", "device_id", help="Only this device, e.g. cuda:0. [default: all]")
@click.option("--force", is_flag=True, help="Measure although an engine runs: it is slowed, and figures are too low.")
@click.option("--engine-python", help="Python of the environment with torch. [default: what `join` stored]")
@output
@configuration
def probe(
    device_id: str | None,
    force: bool,
    engine_python: str | None,
    output: str,
    state_dir: Path | None,
    config: Path | None,
) -> None:
    """Measure FLOP/s and bytes/s of this node's devices (about 10 s each)."""
    settings = load(config, given(state_dir=state_dir, engines__python=engine_python))
    running = running_engines(settings.state_dir)
    if running and not force:
        raise AgentError(
            f"engines run on this node ({', '.join(running)}): measuring would slow them and give wrong figures; "
            "drain them first, or add --force"
        )
    measured = asyncio.run(_measure(settings, device_id))
    if output == "json":
        click.echo(json.dumps({"devices": [_as_json(device) for device in measured]}))
    else:
        Console().print(_table(measured))


def running_engines(state_dir: Path) -> tuple[str, ...]:
    """Engines of this state directory whose process lives, whether or not an agent runs."""
    alive = []
    for engine_id in recorded_engine_ids(state_dir):
        try:
            record = EngineDirectory(state_dir, engine_id).load()
        except (OSError, ValueError):
            alive.append(engine_id)  # it cannot be ruled out
            continue
        if record is not None and identify(record.identity.pid) == record.identity:
            alive.append(engine_id)
    return tuple(alive)


async def _measure(settings: AgentSettings, device_id: str | None) -> tuple[Device, ...]:
    python, clock = settings.engines.python, SystemClock()
    devices = await probe_devices(python)
    wanted = [device for device in devices if device_id in (None, device.device_id)]
    if not wanted:
        raise ProbeError(f"there is no device {device_id!a}: this node has {', '.join(d.device_id for d in devices)}")
    measured = []
    for device in wanted:
        click.echo(f"measuring {device.device_id} ({device.kind}) …", err=True)
        ceilings = await probe_roofline(python, device, state_dir=settings.state_dir, clock=clock)
        measured.append(replace(device, ceilings=ceilings))
    return tuple(measured)


def _ridge(ceiling: Ceiling) -> float | None:
    if ceiling.flops_per_second is None or not ceiling.bytes_per_second:
        return None
    return ceiling.flops_per_second / ceiling.bytes_per_second


def _as_json(device: Device) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "kind": device.kind,
        "family": device.family,
        "memory_bytes": device.memory_bytes,
        "driver_version": device.driver_version,
        "compute_capability": device.compute_capability,
        "ceilings": [
            {
                "dtype": ceiling.dtype,
                "flops_per_second": ceiling.flops_per_second,
                "bytes_per_second": ceiling.bytes_per_second,
                "ridge_flops_per_byte": _ridge(ceiling),
                "source": ceiling.source.value,
                "measured_at": ceiling.measured_at.isoformat() if ceiling.measured_at else None,
            }
            for ceiling in device.ceilings
        ],
    }


def _table(devices: tuple[Device, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("DEVICE", "KIND", "DTYPE"):
        table.add_column(heading)
    for heading in ("TFLOP/S", "GB/S", "RIDGE FLOP/B"):
        table.add_column(heading, justify="right")
    for device in devices:
        for ceiling in device.ceilings:
            table.add_row(
                Text(device.device_id),
                Text(device.kind),
                Text(ceiling.dtype),
                _scaled(ceiling.flops_per_second, 1e12),
                _scaled(ceiling.bytes_per_second, 1e9),
                _scaled(_ridge(ceiling), 1.0),
            )
    return table


def _scaled(value: float | None, unit: float) -> str:
    return "?" if value is None else f"{value / unit:.3g}"
