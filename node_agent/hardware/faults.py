"""What is wrong with a device, told from one reading after the other. Pure; called by `monitor` for each device.

    judgement = judge(judgement, reading, foreign, now)      # faults that hold now
    events(device_id, before, judgement, now)                # what to tell, once

A fault that comes and goes is told only after some readings in a row, and is over only after more of them without it:
so nothing flaps. Readings are counted rather than seconds, so that a clock which jumps does no harm. Faults that need a
reset stay until the agent is started again: a reset needs the agent stopped, since NVML keeps the device open.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from node_agent.hardware.readings import DeviceReading
from node_agent.hardware.xids import RESET, xid
from node_agent.session.facts import NodeEvent
from node_agent.session.hardware import DeviceHealth, Fault
from node_agent.session.values import Severity

# Readings in a row.
_PASSING_BEGINS = 2
_FOREIGN_BEGINS = 6
_ENDS = 6
_APPLICATION_ENDS = 60
# Links save power while a device idles, so their speed says something only under load.
_LOAD_RATIO_MIN = 0.5
# Less than this is a monitor's or a display's, and in nobody's way.
_FOREIGN_BYTES_MIN = 512 * 2**20
_PIDS_NAMED = 4
# Worst first.
_ORDER = (Severity.ERROR, Severity.WARNING, Severity.INFO)


@dataclass(frozen=True, slots=True)
class Symptom:
    """What one reading shows."""

    kind: str
    severity: Severity
    message: str
    action: str
    begins: int = 1  # readings in a row before it is a fault
    ends: int | None = _ENDS  # readings in a row without it before it is over; None: only the agent's restart ends it


@dataclass(frozen=True, slots=True)
class Watched:
    symptom: Symptom
    since: datetime  # first seen
    seen_count: int  # readings in a row, until it is a fault
    clear_count: int = 0  # readings in a row without it

    @property
    def is_fault(self) -> bool:
        return self.seen_count >= self.symptom.begins


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that must be remembered of a device between two readings."""

    watched: tuple[Watched, ...] = ()
    nvlinks_active_most: int = 0

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Worst first."""
        found = [_fault(item) for item in self.watched if item.is_fault]
        return tuple(sorted(found, key=lambda fault: (_ORDER.index(fault.severity), fault.kind)))


def judge(
    previous: Judgement, reading: DeviceReading, foreign_bytes_by_pid: Mapping[int, int] | None, now: datetime
) -> Judgement:
    """`foreign_bytes_by_pid`: memory of processes that are no engine of ours; None where that is not known."""
    most = max(previous.nvlinks_active_most, reading.health.nvlinks_active_count or 0)
    shown = {symptom.kind: symptom for symptom in _symptoms(reading, foreign_bytes_by_pid, most)}
    unclear = _unclear(reading, foreign_bytes_by_pid)
    watched = []
    for item in previous.watched:
        kind = item.symptom.kind
        if kind in shown:
            watched.append(_seen_again(item, shown.pop(kind)))
        elif reading.lost or kind in unclear:
            watched.append(item)
        elif (after := _not_seen(item)) is not None:
            watched.append(after)
    watched += [Watched(symptom, since=now, seen_count=1) for symptom in shown.values()]
    return Judgement(tuple(watched), most)


def events(device_id: str, before: Judgement, after: Judgement, now: datetime) -> tuple[NodeEvent, ...]:
    """A fault that began, got worse or ended, each once."""
    old = {fault.kind: fault for fault in before.faults}
    new = {fault.kind: fault for fault in after.faults}
    told = [
        NodeEvent(
            "device_fault",
            f"{device_id}: {fault.message}",
            fault.severity,
            now,
            device_id=device_id,
            action=fault.action,
        )
        for kind, fault in new.items()
        if kind not in old or _ORDER.index(fault.severity) < _ORDER.index(old[kind].severity)
    ]
    told += [
        NodeEvent(
            "device_recovered", f"{device_id}: no longer: {fault.message}", Severity.INFO, now, device_id=device_id
        )
        for kind, fault in old.items()
        if kind not in new
    ]
    return tuple(told)


def _seen_again(item: Watched, symptom: Symptom) -> Watched:
    """It keeps the worst that it was while it lasts."""
    worse = item.is_fault and _ORDER.index(item.symptom.severity) < _ORDER.index(symptom.severity)
    kept = item.symptom if worse else symptom
    return Watched(kept, item.since, min(item.seen_count + 1, symptom.begins))


def _not_seen(item: Watched) -> Watched | None:
    """None when it is over, or never was there for long enough to count."""
    if not item.is_fault:
        return None
    clear_count = item.clear_count + 1
    over = item.symptom.ends is not None and clear_count >= item.symptom.ends
    return None if over else replace(item, clear_count=clear_count)


def _unclear(reading: DeviceReading, foreign: Mapping[int, int] | None) -> frozenset[str]:
    """What this reading says nothing about, neither way."""
    kinds = set()
    if not _is_loaded(reading):
        kinds.add("pcie_slow")
    if foreign is None:
        kinds.add("foreign_memory")
    return frozenset(kinds)


def _is_loaded(reading: DeviceReading) -> bool:
    return reading.load_ratio is not None and reading.load_ratio >= _LOAD_RATIO_MIN


def _fault(item: Watched) -> Fault:
    symptom = item.symptom
    return Fault(symptom.kind, symptom.severity, symptom.message, symptom.action, item.since)


# ---- what one reading shows


def _symptoms(reading: DeviceReading, foreign: Mapping[int, int] | None, links_most: int) -> Iterator[Symptom]:
    for number in dict.fromkeys(reading.new_xids):
        yield _of_xid(number)
    if reading.lost:
        action = "restart the node; if it comes back, check power, cooling and seating of the device, then replace it"
        yield Symptom("device_lost", Severity.ERROR, reading.lost, action, ends=1)
        return  # what else it tells is not to be believed
    health = reading.health
    yield from _of_memory(reading)
    yield from _of_speed(health)
    yield from _of_links(reading, links_most)
    if reading.partitioned:
        yield Symptom(
            "mig",
            Severity.INFO,
            "it is partitioned (MIG): its memory is told per instance, which this agent does not read, so there is no "
            "ledger for it; its temperature and faults are those of the whole device",
            "nothing, if that is wanted; otherwise switch MIG off (nvidia-smi -mig 0)",
        )
    if foreign:
        yield from _of_foreign(foreign)


def _of_xid(number: int) -> Symptom:
    known = xid(number)
    return Symptom(
        f"xid_{number}",
        known.severity,
        f"Xid {number}: {known.meaning}",
        known.action,
        ends=None if known.lasting else _APPLICATION_ENDS,
    )


def _of_memory(reading: DeviceReading) -> Iterator[Symptom]:
    count = reading.health.ecc_uncorrected_count
    if count:
        what = f"{count} memory error{'s' if count > 1 else ''} that ECC could not correct, since the driver was loaded"
        yield Symptom("ecc_uncorrected", Severity.ERROR, what, RESET)
    if reading.remap_failed:
        yield Symptom(
            "remap_failed", Severity.ERROR, "bad memory could not be replaced by spare memory", "replace the device"
        )
    if reading.remap_pending:
        yield Symptom(
            "remap_pending",
            Severity.WARNING,
            "bad memory was found, and spare memory takes its place only with a reset",
            f"when it suits: {RESET}",
        )


def _of_speed(health: DeviceHealth) -> Iterator[Symptom]:
    reasons = health.throttle_reasons
    if "hw_thermal" in reasons or "sw_thermal" in reasons:
        yield Symptom(
            "thermal_throttle",
            Severity.ERROR if "hw_thermal" in reasons else Severity.WARNING,
            f"it is slowed down because it is too hot{_degrees(health)}",
            "check fans, air flow and the room's temperature; until then expect fewer tokens/s here",
            begins=_PASSING_BEGINS,
        )
    if "power_brake" in reasons:
        yield Symptom(
            "power_brake",
            Severity.ERROR,
            "it is slowed down from outside: the machine's power supply asked for less",
            "check power supplies and the rack's power limit",
            begins=_PASSING_BEGINS,
        )
    elif "hw_slowdown" in reasons and "hw_thermal" not in reasons:
        yield Symptom(
            "hw_slowdown",
            Severity.WARNING,
            "its own protection slows it down (temperature or power)",
            "check cooling and power supply",
            begins=_PASSING_BEGINS,
        )


def _of_links(reading: DeviceReading, links_most: int) -> Iterator[Symptom]:
    health = reading.health
    if _is_loaded(reading):
        slow = [
            f"{name} {now} of {best}"
            for name, now, best in (
                ("generation", health.pcie_generation, health.pcie_generation_max),
                ("width", health.pcie_width, health.pcie_width_max),
            )
            if now is not None and best is not None and now < best
        ]
        if slow:
            yield Symptom(
                "pcie_slow",
                Severity.WARNING,
                f"its PCIe link is slower than it could be: {' and '.join(slow)}",
                "check that the device sits well and in the right slot, its riser, and the firmware's PCIe settings",
                begins=_PASSING_BEGINS,
            )
    active = health.nvlinks_active_count
    if active is not None and active < links_most:
        yield Symptom(
            "nvlink_down",
            Severity.ERROR,
            f"{active} of its NVLinks are up, {links_most} were before",
            f"engines over several devices get slow or fail: {RESET}; if it comes back, have the link checked",
            begins=_PASSING_BEGINS,
        )


def _of_foreign(foreign: Mapping[int, int]) -> Iterator[Symptom]:
    total = sum(foreign.values())
    if total < _FOREIGN_BYTES_MIN:
        return
    largest = sorted(foreign, key=lambda pid: -foreign[pid])
    yield Symptom(
        "foreign_memory",
        Severity.WARNING,
        f"{total / 2**30:.1f} GiB of its memory are held by processes that are no engine of this agent's "
        f"({_named(largest)})",
        "end them, or give engines on this device a smaller --gpu-memory-utilization",
        begins=_FOREIGN_BEGINS,
    )


def _degrees(health: DeviceHealth) -> str:
    return "" if health.temperature_celsius is None else f" ({health.temperature_celsius:.0f} °C)"


def _named(pids: Sequence[int]) -> str:
    more = len(pids) - _PIDS_NAMED
    named = ", ".join(str(pid) for pid in pids[:_PIDS_NAMED])
    return f"process {named}" + (f" and {more} more" if more > 0 else "")
