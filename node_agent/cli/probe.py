"""`stoker-agent probe`: measure what this node's devices really reach, and keep it for the reports."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node_agent.cli.options import configuration, given, output
from node_agent.clock import SystemClock
from node_agent.errors import ProbeError
from node_agent.hardware.probing import NodeProbe, ProbedDevice
from node_agent.session.facts import Ceiling, Device
from node_agent.settings import load
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
    node = NodeProbe(
        engine_python=settings.engines.python,
        state_dir=settings.state_dir,
        clock=SystemClock(),
        running_engines=lambda: running_engines(settings.state_dir),
        on_begin=_begins,
        seconds_max=settings.hardware.probe_seconds_max,
    )
    probed = asyncio.run(node.probe_node(force, device_id=device_id))
    if output == "json":
        click.echo(json.dumps({"devices": [_as_json(one) for one in probed]}))
    else:
        Console().print(_table(probed))
    failed = [f"{one.device.device_id}: {one.problem}" for one in probed if one.measured is None]
    if failed:
        raise ProbeError("; ".join(failed))


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


def _begins(device: Device) -> None:
    click.echo(f"measuring {device.device_id} ({device.kind}) …", err=True)


def _ridge(ceiling: Ceiling) -> float | None:
    if ceiling.flops_per_second is None or not ceiling.bytes_per_second:
        return None
    return ceiling.flops_per_second / ceiling.bytes_per_second


def _as_json(probed: ProbedDevice) -> dict[str, Any]:
    device, measured = probed.device, probed.measured
    return {
        "device_id": device.device_id,
        "kind": device.kind,
        "family": device.family,
        "memory_bytes": device.memory_bytes,
        "driver_version": device.driver_version,
        "compute_capability": device.compute_capability,
        "uuid": device.uuid,
        "problem": probed.problem,
        "measured": None
        if measured is None
        else {
            "measured_at": measured.measured_at.isoformat(),
            "disturbed": measured.disturbed,
            "torch_version": measured.torch_version,
            "runtime_version": measured.runtime_version,
            "read_bytes_per_second": measured.read_bytes_per_second,
            "copy_bytes_per_second": measured.copy_bytes_per_second,
            "flops_per_second": dict(measured.flops_per_second),
        },
        "ceilings": [
            {
                "dtype": ceiling.dtype,
                "flops_per_second": ceiling.flops_per_second,
                "bytes_per_second": ceiling.bytes_per_second,
                "ridge_flops_per_byte": _ridge(ceiling),
                "source": ceiling.source.value,
                "measured_at": ceiling.measured_at.isoformat() if ceiling.measured_at else None,
                "disturbed": ceiling.disturbed,
            }
            for ceiling in device.ceilings
        ],
    }


def _table(probed: Sequence[ProbedDevice]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("DEVICE", "KIND", "DTYPE"):
        table.add_column(heading)
    for heading in ("TFLOP/S", "GB/S", "RIDGE FLOP/B"):
        table.add_column(heading, justify="right")
    table.add_column("SOURCE")
    for device in (one.device for one in probed):
        for ceiling in device.ceilings:
            table.add_row(
                Text(device.device_id),
                Text(device.kind),
                Text(ceiling.dtype),
                _scaled(ceiling.flops_per_second, 1e12),
                _scaled(ceiling.bytes_per_second, 1e9),
                _scaled(_ridge(ceiling), 1.0),
                Text(_source(ceiling)),
            )
    return table


def _source(ceiling: Ceiling) -> str:
    when = "" if ceiling.measured_at is None else f" {ceiling.measured_at:%Y-%m-%d}"
    return f"{ceiling.source.value}{when}{', disturbed' if ceiling.disturbed else ''}"


def _scaled(value: float | None, unit: float) -> str:
    return "?" if value is None else f"{value / unit:.3g}"
