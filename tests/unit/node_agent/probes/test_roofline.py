"""The probes around their child process; the child itself needs torch and runs where that is."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node_agent.errors import ProbeError
from node_agent.probes.datasheet import datasheet_ceilings
from node_agent.probes.devices import probe_devices
from node_agent.probes.roofline import Roofline, keep_roofline, load_roofline, measure_roofline, with_ceilings
from node_agent.session.facts import Ceiling, Device
from node_agent.session.values import Source

H200 = Device("cuda:0", "NVIDIA H200", "cuda", 141 * 10**9, "570.1", "9.0", uuid="GPU-1")
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


async def measure(tmp_path: Path, script: str, *, seconds_max: float = 5.0) -> Roofline:
    return await measure_roofline(program(tmp_path, script), H200, clock=Clock(), seconds_max=seconds_max)


GOOD = """echo 'some warning' >&2; echo 'noise'; test "$2 $3" = "roofline cuda:0" &&
echo '{"torch_version": "2.13", "runtime_version": "12.8", "uuid": "GPU-1", "read_bytes_per_second": 4.4e12,
 "copy_bytes_per_second": 4.3e12, "flops_per_second": {"bfloat16": 7.9e14, "float32": 5e13}}' | tr -d '\\n'"""
MEASURED = Roofline(NOW, (("bfloat16", 7.9e14), ("float32", 5e13)), 4.4e12, 4.3e12, "2.13", "12.8")


async def test_a_measurement_is_told_kept_and_becomes_ceilings(tmp_path: Path) -> None:
    assert await measure(tmp_path, GOOD) == MEASURED
    keep_roofline(tmp_path, H200, MEASURED)
    assert load_roofline(tmp_path, H200) == MEASURED
    assert with_ceilings(H200, tmp_path).ceilings == (
        Ceiling("bfloat16", 7.9e14, 4.4e12, Source.MEASURED, NOW),
        Ceiling("float32", 5e13, 4.4e12, Source.MEASURED, NOW),
    )


@pytest.mark.parametrize("other", [{"driver_version": "580.2"}, {"uuid": "GPU-2"}, {"kind": "NVIDIA GB10"}])
def test_a_measurement_of_another_board_or_driver_does_not_count(tmp_path: Path, other: dict[str, str]) -> None:
    keep_roofline(tmp_path, H200, MEASURED)
    device = replace(H200, **other)  # type: ignore[arg-type]
    assert load_roofline(tmp_path, device) is None
    assert with_ceilings(device, tmp_path).ceilings == datasheet_ceilings(device.kind)


def test_a_disturbed_measurement_is_marked_and_never_replaces_a_good_one(tmp_path: Path) -> None:
    disturbed = replace(MEASURED, disturbed=True)
    keep_roofline(tmp_path, H200, disturbed)
    assert {ceiling.disturbed for ceiling in with_ceilings(H200, tmp_path).ceilings} == {True}
    keep_roofline(tmp_path, H200, MEASURED)
    keep_roofline(tmp_path, H200, disturbed)
    assert load_roofline(tmp_path, H200) == MEASURED
    swapped = replace(H200, uuid="GPU-2")
    keep_roofline(tmp_path, swapped, disturbed)
    assert load_roofline(tmp_path, swapped) == disturbed


def test_a_spoilt_file_falls_back_to_the_datasheet(tmp_path: Path) -> None:
    keep_roofline(tmp_path, H200, MEASURED)
    good = (tmp_path / "roofline/cuda-0.json").read_text()
    for text in (
        "",
        "[]",
        '{"version": 2}',
        good.replace("4400000000000.0", "-1"),
        good.replace('"version": 2', '"version": 1'),
    ):
        (tmp_path / "roofline/cuda-0.json").write_text(text)
        assert {ceiling.source for ceiling in with_ceilings(H200, tmp_path).ceilings} == {Source.TABLE}


def test_a_measurement_that_cannot_be_kept_says_so(tmp_path: Path) -> None:
    (tmp_path / "roofline").write_text("")
    with pytest.raises(ProbeError, match="cannot be kept"):
        keep_roofline(tmp_path, H200, MEASURED)


async def test_a_board_that_is_another_one_by_now_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="became another device"):
        await measure(tmp_path, GOOD.replace("GPU-1", "GPU-9"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'CUDA error: no device' >&2; exit 1", r"exit code 1\): CUDA error: no device"),
        ("echo hello", "something else"),
        ("echo '[1]'", "something else"),
        ("echo '{}'", "makes no sense"),
        (GOOD.replace("5e13", "-1"), "makes no sense"),
        (GOOD.replace("4.3e12", "null"), "makes no sense"),
        (GOOD.replace('"bfloat16": 7.9e14, "float32": 5e13', ""), "could measure nothing"),
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
    assert [ceiling.dtype for ceiling in datasheet_ceilings("NVIDIA A100-SXM4-80GB")] == ["bfloat16", "float16"]
    for other in ("NVIDIA H100 PCIe", "NVIDIA A100-SXM4-40GB", "NVIDIA L40", "AMD EPYC 9554", ""):
        assert datasheet_ceilings(other) == ()
