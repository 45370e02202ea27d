"""The probes around their child process; the child itself needs torch and runs where that is."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node_agent.errors import ProbeError
from node_agent.probes.datasheet import datasheet_ceilings
from node_agent.probes.devices import probe_devices
from node_agent.probes.roofline import probe_roofline, with_ceilings
from node_agent.session.facts import Ceiling, Device, Source

H200 = Device("cuda:0", "NVIDIA H200", "cuda", 141 * 10**9, "570.1", "9.0")
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Clock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def program(tmp_path: Path, script: str) -> Path:
    """Stands for the engine environment's Python."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def measure(tmp_path: Path, script: str, *, seconds_max: float = 5.0) -> tuple[Ceiling, ...]:
    engine_python = program(tmp_path, script)
    return await probe_roofline(engine_python, H200, state_dir=tmp_path, clock=Clock(), seconds_max=seconds_max)


GOOD = """echo 'some warning' >&2; echo 'noise'; test "$2 $3" = "roofline cuda:0" &&
echo '{"torch_version": "2.13", "flops_per_second": {"bfloat16": 7.9e14, "float32": 5e13}, "bytes_per_second": 4.3e12}'"""


async def test_a_measurement_is_told_and_kept(tmp_path: Path) -> None:
    ceilings = await measure(tmp_path, GOOD)
    assert ceilings == (
        Ceiling("bfloat16", 7.9e14, 4.3e12, Source.MEASURED, NOW),
        Ceiling("float32", 5e13, 4.3e12, Source.MEASURED, NOW),
    )
    assert with_ceilings(H200, tmp_path).ceilings == ceilings


async def test_a_measurement_of_another_device_or_driver_does_not_count(tmp_path: Path) -> None:
    await measure(tmp_path, GOOD)
    assert with_ceilings(replace(H200, driver_version="580.2"), tmp_path).ceilings[0].source is Source.TABLE
    assert with_ceilings(replace(H200, kind="NVIDIA GB10"), tmp_path).ceilings == ()


async def test_a_spoilt_file_falls_back_to_the_datasheet(tmp_path: Path) -> None:
    await measure(tmp_path, GOOD)
    for text in ("", "[]", '{"version": 1}'):
        (tmp_path / "roofline/cuda-0.json").write_text(text)
        assert {ceiling.source for ceiling in with_ceilings(H200, tmp_path).ceilings} == {Source.TABLE}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'CUDA error: no device' >&2; exit 1", r"exit code 1\): CUDA error: no device"),
        ("echo hello", "something else"),
        ("echo '[1]'", "something else"),
        ("echo '{}'", "makes no sense"),
        ("""echo '{"flops_per_second": {"float32": -1}, "bytes_per_second": 1}'""", "makes no sense"),
        ("""echo '{"flops_per_second": {}, "bytes_per_second": 1}'""", "could measure nothing"),
    ],
)
async def test_a_failed_probe_says_why(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        await measure(tmp_path, script)


async def test_a_python_without_torch_and_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="No module named 'torch'"):
        await probe_devices(Path(sys.executable))
    with pytest.raises(ProbeError, match="is the engine's environment set up"):
        await probe_devices(tmp_path / "nothing")


async def test_a_child_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="did not end within 0 s"):
        await probe_devices(program(tmp_path, "exec sleep 99"), seconds_max=0.2)


async def test_devices(tmp_path: Path) -> None:
    script = """echo '{"devices": [{"device_id": "cpu:0", "kind": "EPYC", "family": "cpu", "memory_bytes": 5}]}'"""
    assert await probe_devices(program(tmp_path, script)) == (Device("cpu:0", "EPYC", "cpu", 5),)
    with pytest.raises(ProbeError, match="no device"):
        await probe_devices(program(tmp_path, """echo '{"devices": []}'"""))


def test_the_datasheet_knows_only_what_a_name_says_exactly() -> None:
    h100 = {ceiling.dtype: ceiling for ceiling in datasheet_ceilings("NVIDIA H100 80GB HBM3")}
    fp8, bf16 = h100["float8_e4m3"], h100["bfloat16"]
    assert fp8.flops_per_second is not None
    assert fp8.bytes_per_second is not None
    assert round(fp8.flops_per_second / fp8.bytes_per_second) == 591
    assert bf16.flops_per_second == 989e12
    assert [ceiling.dtype for ceiling in datasheet_ceilings("NVIDIA A100-SXM4-80GB")] == ["bfloat16"]
    for other in ("NVIDIA H100 PCIe", "NVIDIA A100-SXM4-40GB", "NVIDIA L40", "AMD EPYC 9554", ""):
        assert datasheet_ceilings(other) == ()
