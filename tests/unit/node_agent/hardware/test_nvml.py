"""NVIDIA's figures in our names and units, and what happens when the driver stops telling them."""

import pytest

from node_agent.hardware.nvml import NvmlReader
from node_agent.hardware.readings import DeviceReading, HardwareUnreadableError
from node_agent.session.facts import Device
from tests.fakes.nvml import FakeBoard, FakeNvml
from tests.support.device_readings import NOW


def opened(*boards: FakeBoard) -> NvmlReader:
    reader = NvmlReader.open(FakeNvml(*boards))
    assert reader is not None
    return reader


def read(board: FakeBoard) -> DeviceReading:
    return opened(board).read(NOW, frozenset())[0]


def test_a_device_and_its_figures() -> None:
    reading = read(FakeBoard(ecc=(5, 1), rows=(2, 1, 1, 0), throttle_mask=0x1 | 0x4 | 0x40, load_percent=87))
    assert reading.device == Device("cuda:0", "NVIDIA H200", "cuda", 150_754_820_096, "570.86.15", "9.0", uuid="GPU-0")
    health = reading.health
    assert (health.temperature_celsius, health.temperature_limit_celsius) == (41.0, 92.0)
    assert health.power_watts == pytest.approx(78.0)
    assert health.power_limit_watts == pytest.approx(700.0)
    assert (health.compute_clock_hertz, health.compute_clock_max_hertz) == (345e6, 1980e6)
    assert health.memory_clock_hertz == 3201e6
    assert health.throttle_reasons == ("power_cap", "hw_thermal")
    assert (health.ecc_corrected_count, health.ecc_uncorrected_count) == (5, 1)
    assert (health.rows_remapped_count, reading.remap_pending, reading.remap_failed) == (3, True, False)
    assert (health.pcie_generation, health.pcie_width, health.pcie_generation_max, health.pcie_width_max) == (
        5,
        16,
        5,
        16,
    )
    assert (health.nvlinks_active_count, health.nvlinks_count) == (18, 18)
    assert reading.load_ratio == pytest.approx(0.87)


def test_boards_are_counted_and_links_that_are_down_are_told() -> None:
    readings = opened(FakeBoard(links=(1, 0, 1)), FakeBoard(uuid="GPU-1", links=())).read(NOW, frozenset())
    assert [reading.device.uuid for reading in readings] == ["GPU-0", "GPU-1"]
    assert (readings[0].health.nvlinks_active_count, readings[0].health.nvlinks_count) == (2, 3)
    assert (readings[1].health.nvlinks_active_count, readings[1].health.nvlinks_count) == (None, None)


def test_older_devices_retire_pages() -> None:
    reading = read(FakeBoard(rows=None, pages=3))
    assert (reading.health.rows_remapped_count, reading.remap_pending, reading.remap_failed) == (6, False, None)


def test_memory_of_processes_is_told_wholly_or_not_at_all() -> None:
    assert read(FakeBoard(processes={7: 2**30, 8: 5})).memory_by_pid == {7: 2**30, 8: 5}
    assert read(FakeBoard(processes={7: 2**30, 8: None})).memory_by_pid is None
    assert read(FakeBoard()).memory_by_pid == {}


def test_each_xid_is_new_once_and_remembered() -> None:
    board = FakeBoard(xids=[31, 31, 79])
    reader = opened(board)
    first, second = reader.read(NOW, frozenset())[0], reader.read(NOW, frozenset())[0]
    assert (first.new_xids, second.new_xids) == ((31, 31, 79), ())
    assert second.health.recent_xids == (31, 31, 79)
    board.xids += [13] * 200
    assert 0 < len(reader.read(NOW, frozenset())[0].new_xids) <= 64  # a storm of them holds nothing up


@pytest.mark.parametrize(("error", "why"), [(15, "fell off the bus"), (16, "must be reset"), (28, "does not find it")])
def test_a_lost_device_is_still_described_and_the_others_are_read(error: int, why: str) -> None:
    boards = FakeBoard(), FakeBoard(uuid="GPU-1")
    reader = opened(*boards)
    boards[0].lost = error
    boards[0].xids.append(79)
    lost, other = reader.read(NOW, frozenset())
    assert why in lost.lost
    assert (lost.device.uuid, lost.new_xids, lost.health.temperature_celsius) == ("GPU-0", (79,), None)
    assert (other.lost, other.health.temperature_celsius) == ("", 41.0)


def test_a_device_that_was_lost_before_is_found_as_such() -> None:
    lost, other = opened(FakeBoard(lost=15), FakeBoard(uuid="GPU-1")).read(NOW, frozenset())
    assert (lost.device_id, lost.device.kind, other.device_id) == ("cuda:0", "NVIDIA device", "cuda:1")
    assert lost.lost


def test_a_partitioned_device_says_so() -> None:
    assert read(FakeBoard(mig=1)).partitioned
    assert not read(FakeBoard(mig=None)).partitioned


@pytest.mark.parametrize("error", [9, 12])
def test_without_a_driver_there_are_no_devices(error: int) -> None:
    assert NvmlReader.open(FakeNvml(FakeBoard(), init_error=error)) is None
    empty = FakeNvml()
    assert NvmlReader.open(empty) is None
    assert empty.users == 0


def test_a_driver_that_does_not_fit_says_what_to_do() -> None:
    with pytest.raises(HardwareUnreadableError, match="restart the node"):
        NvmlReader.open(FakeNvml(FakeBoard(), init_error=18))


def test_a_driver_that_is_unloaded_is_noticed() -> None:
    library = FakeNvml(FakeBoard())
    reader = NvmlReader.open(library)
    assert reader is not None
    library.users = 0
    with pytest.raises(HardwareUnreadableError, match="unloaded"):
        reader.read(NOW, frozenset())
    reader.close()
