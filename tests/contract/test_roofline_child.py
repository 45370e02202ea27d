"""The measuring program on a real torch. Needs the vLLM environment."""

from pathlib import Path

import pytest

from node_agent.hardware.cpu import CpuReader
from node_agent.probes.child import run_child
from node_agent.probes.devices import probe_devices
from node_agent.probes.roofline import measure_roofline
from tests.support.clock import START, SettableClock

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(180)]


async def test_each_device_is_measured_in_the_types_that_matter(vllm_python: Path) -> None:
    for device in await probe_devices(vllm_python):
        measured = await measure_roofline(vllm_python, device, clock=SettableClock(START), seconds_max=1.0)
        reached = dict(measured.flops_per_second)
        assert {"float32", "bfloat16"} <= reached.keys()
        # A pocket calculator to a rack: off by a unit would be outside.
        assert all(1e9 < flops < 1e16 for flops in reached.values())
        assert 1e9 < measured.read_bytes_per_second < 1e14
        assert 1e9 < measured.copy_bytes_per_second < 1e14
        assert measured.torch_version


async def test_torch_and_the_agent_name_the_processors_alike(vllm_python: Path) -> None:
    told = await run_child(vllm_python, "devices", seconds_max=120)
    if [device["family"] for device in told["devices"]] == ["cpu"]:
        [reading] = CpuReader().read(START, frozenset())
        assert reading.device.kind == told["devices"][0]["kind"]
