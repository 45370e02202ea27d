"""Which devices a machine has, before anybody asked torch."""

from pathlib import Path

import pytest

from node_agent.hardware.cpu import CpuReader
from node_agent.hardware.nvml import NvmlReader
from node_agent.hardware.readers import open_readers
from node_agent.hardware.readings import HardwareUnreadableError, Readers
from tests.fakes.nvml import FakeBoard, FakeNvml


def found(library: FakeNvml, place: Path) -> Readers:
    return open_readers(lambda: library, amd_compute=place / "kfd", pci_devices=place / "pci")


def test_gpus_or_else_the_processors(tmp_path: Path) -> None:
    assert [type(reader) for reader in found(FakeNvml(FakeBoard()), tmp_path).readers] == [NvmlReader]
    none = found(FakeNvml(init_error=12), tmp_path)
    assert ([type(reader) for reader in none.readers], none.unread) == ([CpuReader], "")


def test_amds_devices_are_told_as_not_read(tmp_path: Path) -> None:
    (tmp_path / "kfd").touch()
    readers = found(FakeNvml(init_error=12), tmp_path)
    assert readers.readers == ()
    assert "AMD" in readers.unread


def test_a_device_without_its_driver_is_told(tmp_path: Path) -> None:
    for name, vendor, kind in (("0", "0x8086", "0x030000"), ("1", "0x10de", "0x030200")):
        (tmp_path / "pci" / name).mkdir(parents=True)
        (tmp_path / "pci" / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / "pci" / name / "class").write_text(f"{kind}\n")
    assert "load the driver" in found(FakeNvml(init_error=9), tmp_path).unread


def test_without_the_binding_it_says_so() -> None:
    def library() -> FakeNvml:
        raise ImportError("no pynvml")

    with pytest.raises(HardwareUnreadableError, match="install the agent anew"):
        open_readers(library)
