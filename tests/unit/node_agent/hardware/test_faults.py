"""When something is a fault, when it is over, and that each is told once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.hardware.faults import Judgement, events, judge
from node_agent.hardware.readings import DeviceReading
from node_agent.hardware.xids import xid
from node_agent.session.facts import Device, NodeEvent
from node_agent.session.hardware import DeviceHealth
from node_agent.session.values import Severity
from tests.support.device_readings import GIB, NOW, MakeReading

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
HOT = {"throttle_reasons": ("sw_thermal",), "temperature_celsius": 91.0}


class Watch:
    """Judges one reading after the other, ten seconds apart."""

    def __init__(self) -> None:
        self.judgement = Judgement()
        self.now = NOW
        self.told: list[NodeEvent] = []

    def see(self, *readings: DeviceReading, foreign: dict[int, int] | None = None) -> None:
        for reading in readings:
            after = judge(self.judgement, reading, foreign, self.now)
            self.told += events(reading.device_id, self.judgement, after, self.now)
            self.judgement = after
            self.now += timedelta(seconds=10)

    @property
    def faults(self) -> list[tuple[str, Severity]]:
        return [(fault.kind, fault.severity) for fault in self.judgement.faults]

    @property
    def kinds_told(self) -> list[str]:
        return [event.kind for event in self.told]


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_a_healthy_device_has_none(watch: Watch, reading: MakeReading) -> None:
    idle = reading(throttle_reasons=(), pcie_generation=1, pcie_generation_max=5, load_ratio=0.0)
    busy = reading(throttle_reasons=("power_cap",), ecc_corrected_count=3, ecc_uncorrected_count=0, load_ratio=1.0)
    watch.see(idle, busy, idle, busy, foreign={1: 200 * 2**20})
    assert (watch.faults, watch.told) == ([], [])


@pytest.mark.parametrize(
    ("shown", "kind", "severity", "action"),
    [
        ({"ecc_uncorrected_count": 2}, "ecc_uncorrected", ERROR, "reset the device"),
        ({"remap_failed": True}, "remap_failed", ERROR, "replace the device"),
        ({"remap_pending": True}, "remap_pending", WARNING, "when it suits"),
        ({"lost": "it fell off the bus"}, "device_lost", ERROR, "restart the node"),
        ({"new_xids": (79,)}, "xid_79", ERROR, "restart the node"),
        ({"new_xids": (48,)}, "xid_48", ERROR, "reset the device"),
        ({"new_xids": (63,)}, "xid_63", WARNING, "takes effect with a reset"),
        ({"new_xids": (13,)}, "xid_13", WARNING, "log of the engine"),
        ({"new_xids": (777,)}, "xid_777", WARNING, "NVIDIA's table"),
        ({"partitioned": True}, "mig", INFO, "nothing, if that is wanted"),
    ],
)
def test_what_is_certain_is_told_at_once(
    watch: Watch, reading: MakeReading, shown: dict[str, Any], kind: str, severity: Severity, action: str
) -> None:
    watch.see(reading(**shown))
    assert watch.faults == [(kind, severity)]
    [event] = watch.told
    assert (event.kind, event.severity, event.device_id) == ("device_fault", severity, "cuda:0")
    assert event.message.startswith("cuda:0: ")
    assert action in event.action


@pytest.mark.parametrize(
    ("shown", "kind", "severity"),
    [
        (HOT, "thermal_throttle", WARNING),
        ({"throttle_reasons": ("hw_slowdown", "hw_thermal")}, "thermal_throttle", ERROR),
        ({"throttle_reasons": ("hw_slowdown", "power_brake")}, "power_brake", ERROR),
        ({"throttle_reasons": ("hw_slowdown",)}, "hw_slowdown", WARNING),
        ({"pcie_generation": 5, "pcie_generation_max": 5, "pcie_width": 8, "pcie_width_max": 16}, "pcie_slow", WARNING),
    ],
)
def test_what_may_pass_is_told_when_it_stays(
    watch: Watch, reading: MakeReading, shown: dict[str, Any], kind: str, severity: Severity
) -> None:
    bad, good = reading(load_ratio=1.0, **shown), reading(load_ratio=1.0)
    watch.see(bad, good, bad, good)
    assert watch.told == []
    watch.see(bad, bad)
    assert watch.faults == [(kind, severity)]
    assert watch.judgement.faults[0].since == watch.now - timedelta(seconds=20)
    for _ in range(4):
        watch.see(good, good, good, good, good, bad)  # never gone for long
    assert watch.kinds_told == ["device_fault"]
    watch.see(*[good] * 6)
    assert watch.faults == []
    assert watch.kinds_told == ["device_fault", "device_recovered"]


def test_a_fault_that_gets_worse_is_told_again_and_keeps_the_worst(watch: Watch, reading: MakeReading) -> None:
    worse = reading(throttle_reasons=("hw_thermal",))
    for _ in range(3):
        watch.see(reading(**HOT), reading(**HOT), worse)
    assert [event.severity for event in watch.told] == [WARNING, ERROR]
    assert watch.faults == [("thermal_throttle", ERROR)]


def test_a_slow_link_is_not_forgotten_while_the_device_idles(watch: Watch, reading: MakeReading) -> None:
    slow = {"pcie_generation": 3, "pcie_generation_max": 5}
    watch.see(*[reading(load_ratio=0.9, **slow)] * 2)
    watch.see(*[reading(load_ratio=0.0, **slow)] * 20)
    assert watch.faults == [("pcie_slow", WARNING)]
    assert watch.kinds_told == ["device_fault"]


def test_a_link_that_was_up_and_is_not(watch: Watch, reading: MakeReading) -> None:
    watch.see(*[reading(nvlinks_active_count=4, nvlinks_count=12)] * 3)  # a bridge takes only some of them
    assert watch.faults == []
    watch.see(*[reading(nvlinks_active_count=3, nvlinks_count=12)] * 2)
    assert watch.faults == [("nvlink_down", ERROR)]
    assert "3 of its NVLinks are up, 4 were before" in watch.told[0].message


def test_what_a_lost_device_tells_changes_nothing(watch: Watch, reading: MakeReading) -> None:
    watch.see(reading(ecc_uncorrected_count=1))
    watch.see(*[reading(ecc_uncorrected_count=None, lost="it is gone", new_xids=())] * 20)
    assert watch.faults == [("device_lost", ERROR), ("ecc_uncorrected", ERROR)]
    watch.see(*[reading(ecc_uncorrected_count=0)] * 6)
    assert watch.faults == []


def test_an_xid_of_the_device_stays_and_one_of_an_application_ends(watch: Watch, reading: MakeReading) -> None:
    watch.see(reading(new_xids=(31, 95, 31)))
    watch.see(*[reading()] * 60)
    assert watch.faults == [("xid_95", ERROR)]
    assert watch.kinds_told == ["device_fault", "device_fault", "device_recovered"]


def test_memory_of_strangers(watch: Watch, reading: MakeReading) -> None:
    watch.see(*[reading()] * 5, foreign={41: 3 * GIB, 42: GIB})
    assert watch.faults == []
    watch.see(reading(), foreign={41: 3 * GIB, 42: GIB})
    assert "4.0 GiB" in watch.told[0].message
    assert "process 41, 42" in watch.told[0].message
    watch.see(*[reading()] * 20, foreign=None)  # nobody can tell now
    assert watch.faults == [("foreign_memory", WARNING)]
    watch.see(*[reading()] * 6, foreign={})
    assert watch.faults == []


def test_what_matters_for_the_device_is_known_and_says_what_to_do() -> None:
    for number in (48, 64, 74, 79, 95, 119, 120):
        assert (xid(number).severity, xid(number).lasting) == (ERROR, True)
    for number in (13, 31, 43):
        assert not xid(number).lasting


READING = st.builds(
    lambda reasons, ecc, load, width, links, xids, lost: DeviceReading(
        Device("cuda:0", "GPU", "cuda"),
        DeviceHealth(
            "cuda:0",
            datetime(2030, 1, 1, tzinfo=UTC),
            throttle_reasons=tuple(reasons),
            ecc_uncorrected_count=ecc,
            pcie_width=width,
            pcie_width_max=16,
            nvlinks_active_count=links,
        ),
        load_ratio=load,
        new_xids=tuple(xids),
        lost=lost,
    ),
    st.lists(st.sampled_from(["sw_thermal", "hw_thermal", "power_brake", "hw_slowdown", "power_cap"])),
    st.none() | st.integers(0, 2),
    st.none() | st.floats(0, 1),
    st.none() | st.sampled_from([8, 16]),
    st.none() | st.integers(0, 18),
    st.lists(st.integers(0, 160), max_size=3),
    st.sampled_from(["", "gone"]),
)


@given(st.lists(st.tuples(READING, st.none() | st.dictionaries(st.integers(1, 9), st.integers(0, 2 * GIB)))))
def test_beginnings_and_ends_take_turns(seen: list[tuple[DeviceReading, dict[int, int] | None]]) -> None:
    """Whatever is read: an end only for what had begun, and what is told agrees with the faults that hold."""
    judgement, holding = Judgement(), 0
    for reading, foreign in seen:
        after = judge(judgement, reading, foreign, NOW)
        for event in events("cuda:0", judgement, after, NOW):
            worse = any(
                fault.severity is not event.severity and event.message == f"cuda:0: {fault.message}"
                for fault in judgement.faults
            )
            holding += {"device_fault": 0 if worse else 1, "device_recovered": -1}[event.kind]
        judgement = after
        kinds = [fault.kind for fault in judgement.faults]
        assert len(kinds) == len(set(kinds))
        assert all(fault.message and fault.action for fault in judgement.faults)
    assert holding >= len({fault.kind for fault in judgement.faults}) >= 0
