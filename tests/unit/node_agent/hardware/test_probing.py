"""When a measurement is refused, marked, kept and told."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from node_agent.errors import ProbeError, ProbeRefusedError
from node_agent.hardware.probing import NodeProbe
from node_agent.probes.roofline import load_roofline
from node_agent.session.facts import Device
from node_agent.session.values import Source
from node_agent.tasks import TaskScope
from tests.fakes.control_plane import eventually
from tests.support.clock import START, SettableClock

DEVICES = [
    {"device_id": "cuda:0", "kind": "NVIDIA H200", "family": "cuda", "uuid": "GPU-0"},
    {"device_id": "cuda:1", "kind": "NVIDIA H200", "family": "cuda", "uuid": "GPU-1"},
]
MEASURED = {"read_bytes_per_second": 4e12, "copy_bytes_per_second": 4.3e12, "flops_per_second": {"bfloat16": 8e14}}


class Bench:
    """A probe whose measuring program is a shell script."""

    def __init__(self, place: Path, of_cuda_1: str = "") -> None:
        self.state_dir = place
        self.running: list[str] = []
        self.measured = 0
        python = place / "python"
        good = {index: json.dumps({"uuid": f"GPU-{index}", **MEASURED}) for index in (0, 1)}
        python.write_text(
            f"""#!/bin/sh
            case "$2 $3" in
            devices*) echo '{json.dumps({"devices": DEVICES})}';;
            *cuda:0) test -e {place}/wait && while test -e {place}/wait; do sleep 0.01; done; echo '{good[0]}';;
            *cuda:1) {of_cuda_1 or f"echo '{good[1]}'"};;
            esac"""
        )
        python.chmod(0o755)
        self.python = python

    def probe(self, running: Callable[[], Sequence[str]] | None = None) -> NodeProbe:
        return NodeProbe(
            engine_python=self.python,
            state_dir=self.state_dir,
            clock=SettableClock(),
            running_engines=running or (lambda: self.running),
            on_measured=self._count,
        )

    def _count(self) -> None:
        self.measured += 1


async def test_every_device_is_measured_kept_and_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first, second = await bench.probe().probe_node(False)
    assert (first.device.device_id, second.device.device_id, bench.measured) == ("cuda:0", "cuda:1", 2)
    assert first.measured is not None
    assert (first.measured.measured_at, first.measured.disturbed) == (START, False)
    [ceiling] = first.device.ceilings
    assert (ceiling.bytes_per_second, ceiling.source) == (4.3e12, Source.MEASURED)
    kept = load_roofline(tmp_path, Device("cuda:1", "NVIDIA H200", "cuda", uuid="GPU-1"))
    assert kept == second.measured
    [only] = await bench.probe().probe_node(False, device_id="cuda:1")
    assert only.device.device_id == "cuda:1"


async def test_it_is_refused_while_engines_run_and_marked_when_forced(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.running = ["a", "b"]
    with pytest.raises(ProbeRefusedError, match=r"engines run on this node \(a, b\).*drain them first"):
        await bench.probe().probe_node(False)
    probed = await bench.probe().probe_node(True)
    assert [one.measured is not None and one.measured.disturbed for one in probed] == [True, True]


async def test_an_engine_that_is_started_under_way_marks_it_too(tmp_path: Path) -> None:
    answers = iter([[], [], ["a"], [], []])  # before all, before and after the first device, and the second
    probed = await Bench(tmp_path).probe(lambda: next(answers)).probe_node(False)
    assert [one.measured is not None and one.measured.disturbed for one in probed] == [True, False]


async def test_one_measurement_at_a_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "wait").touch()
    refused: list[Exception] = []

    async def first() -> None:
        await bench.probe().probe_node(False)

    async with TaskScope("test") as scope:
        task = scope.spawn(first(), name="first")
        await eventually((tmp_path / "roofline" / "lock").exists, "the first to begin")
        try:
            await bench.probe().probe_node(True)
        except ProbeRefusedError as error:
            refused.append(error)
        (tmp_path / "wait").unlink()
        await asyncio.wait((task,))
    assert "measured already" in str(refused[0])
    assert bench.measured == 2
    await bench.probe().probe_node(False)


async def test_a_device_that_cannot_be_measured_keeps_its_datasheet_and_says_why(tmp_path: Path) -> None:
    good, bad = await Bench(tmp_path, "echo 'CUDA error' >&2; exit 1").probe().probe_node(False)
    assert good.measured is not None
    assert bad.measured is None
    assert "CUDA error" in bad.problem
    assert {ceiling.source for ceiling in bad.device.ceilings} == {Source.TABLE}
    with pytest.raises(ProbeError, match="cuda:1: the probe failed"):
        await Bench(tmp_path, "exit 1").probe().probe_node(False, device_id="cuda:1")
    with pytest.raises(ProbeError, match="this node has cuda:0, cuda:1"):
        await Bench(tmp_path).probe().probe_node(False, device_id="cuda:7")
