"""What every reader of devices keeps to: the processors of this machine, and NVIDIA's over a library of that form.

The last tests compare that library's names with the real binding's, which needs no device.
"""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pynvml
import pytest

from node_agent.hardware import nvml
from node_agent.hardware.cpu import CpuReader
from node_agent.hardware.nvml import NvmlReader
from node_agent.hardware.readings import DeviceReader
from tests.fakes.nvml import QUERIES, FakeBoard, FakeNvml

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HELD = 64 * 2**20


def nvidia() -> DeviceReader:
    board = FakeBoard(processes={os.getpid(): HELD, 7: HELD})
    reader = NvmlReader.open(FakeNvml(board, FakeBoard(uuid="GPU-1")))
    assert reader is not None
    return reader


def nvidia_that_tells_nothing() -> DeviceReader:
    told = {"nvmlDeviceGetUUID", "nvmlDeviceGetName"}
    reader = NvmlReader.open(FakeNvml(FakeBoard(unsupported=frozenset(QUERIES) - told)))
    assert reader is not None
    return reader


READERS: dict[str, Callable[[], DeviceReader]] = {
    "cpu": CpuReader,
    "nvidia": nvidia,
    "nvidia that tells nothing": nvidia_that_tells_nothing,
}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> DeviceReader:
    return READERS[request.param]()


def test_every_device_is_described(reader: DeviceReader) -> None:
    readings = reader.read(NOW, frozenset())
    ids = [reading.device_id for reading in readings]
    assert ids == sorted(set(ids))
    for reading in readings:
        assert reading.device.device_id == reading.device_id
        assert re.fullmatch(rf"{reading.device.family}:\d+", reading.device_id)
        assert reading.device.kind
        assert reading.health.measured_at == NOW
        assert not reading.lost


def test_memory_adds_up_or_is_unknown(reader: DeviceReader) -> None:
    for reading in reader.read(NOW, frozenset()):
        total, used, free = reading.device.memory_bytes, reading.health.memory_used_bytes, reading.memory_free_bytes
        if total is None or used is None or free is None:
            assert (total, used, free) == (None, None, None)
        else:
            assert used + free == total
            assert min(total, used, free) >= 0


def test_a_process_has_its_memory_and_one_that_is_gone_has_none(reader: DeviceReader) -> None:
    gone = 2**22 + 1  # above the largest pid there can be
    held = reader.read(NOW, frozenset({os.getpid(), gone}))[0].memory_by_pid
    if held is not None:
        assert held[os.getpid()] > 2**20
        assert gone not in held


def test_figures_are_in_our_units(reader: DeviceReader) -> None:
    for reading in reader.read(NOW, frozenset()):
        health = reading.health
        for value, low, high in (
            (health.temperature_celsius, 1, 130),
            (health.temperature_limit_celsius, 40, 130),
            (health.power_watts, 1, 5_000),
            (health.compute_clock_hertz, 1e8, 1e10),
            (health.memory_clock_hertz, 1e8, 1e11),
        ):
            assert value is None or low < value < high


def test_it_can_be_read_again_and_closed(reader: DeviceReader) -> None:
    first, second = reader.read(NOW, frozenset()), reader.read(NOW, frozenset())
    assert [reading.device for reading in first] == [reading.device for reading in second]
    reader.close()


# ---- the real binding


def test_the_library_that_tests_use_has_the_names_and_numbers_of_the_real_one() -> None:
    assert [name for name in QUERIES if not callable(getattr(pynvml, name, None))] == []
    numbers = {name: value for name, value in vars(FakeNvml).items() if isinstance(value, int)}
    assert len(numbers) > 20
    assert numbers == {name: getattr(pynvml, name) for name in numbers}


def test_every_query_that_is_asked_exists_there_and_here() -> None:
    asked = set(re.findall(r"\bnvml[A-Z]\w+", Path(nvml.__file__).read_text()))
    assert len(asked) > 25
    assert {name for name in asked if not hasattr(pynvml, name)} == set()
    assert asked - set(QUERIES) == {"nvmlEventTypeXidCriticalError"}


def test_the_bits_of_throttling_are_those_of_the_real_binding() -> None:
    real = {
        "applications_clocks": pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
        "power_cap": pynvml.nvmlClocksEventReasonSwPowerCap,
        "hw_slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
        "sync_boost": pynvml.nvmlClocksEventReasonSyncBoost,
        "sw_thermal": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
        "hw_thermal": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
        "power_brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
        "display_clocks": pynvml.nvmlClocksEventReasonDisplayClockSetting,
    }
    for name, bit in real.items():
        reader = NvmlReader.open(FakeNvml(FakeBoard(throttle_mask=bit)))
        assert reader is not None
        assert reader.read(NOW, frozenset())[0].health.throttle_reasons == (name,)
