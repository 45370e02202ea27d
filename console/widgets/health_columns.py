"""The columns of the table of a node's devices and how they do, and the lines of their faults. Pure cells, no state."""

from collections.abc import Iterable

from console.model.format import UNKNOWN, age, celsius, clean, hertz, memory, quantity, watts
from console.model.hardware import DeviceHealthRow, faults_of
from console.model.overview import Moment
from console.widgets.bars import known_or_dash
from console.widgets.columns import Column
from console.widgets.spans import CROSS, Line, Tone, say, span

FAULTS_SHOWN_MAX = 3


def health_fields(row: DeviceHealthRow) -> dict[str, str]:
    return {
        "device": row.device_id,
        "fault": " ".join(fault.kind for fault in row.faults),
        "throttle": " ".join(row.throttle_reasons),
    }


def fault_lines(health: Iterable[DeviceHealthRow]) -> list[Line]:
    """What is wrong and what to do about it, worst first."""
    found = faults_of(health)
    lines: list[Line] = []
    for device_id, fault in found[:FAULTS_SHOWN_MAX]:
        symbol, tone = (CROSS, Tone.BAD) if fault.severity == "error" else ("▲", Tone.WARN)
        do = f"  do: {fault.action}" if fault.action else ""
        told = span(f"{symbol} {device_id} {fault.kind}: ", tone)
        lines.append((told, span(fault.message), span(do, Tone.STRONG)))
    more = len(found) - FAULTS_SHOWN_MAX
    return [*lines, say(f"and {more} more faults: stoker nodes -o json", Tone.DIM)] if more > 0 else lines


def _temperature(row: DeviceHealthRow, _moment: Moment, _width: int) -> Line:
    value, limit = row.temperature_celsius, row.temperature_limit_celsius
    hot = value is not None and limit is not None and value >= limit
    return (*((span(f"{celsius(value)} !", Tone.WARN),) if hot else known_or_dash(celsius(value))),)


def _of(value: str, limit: str) -> Line:
    """ "310 W/700 W"; one dash when neither is known."""
    if value == limit == UNKNOWN:
        return say(UNKNOWN, Tone.DIM)
    return (*known_or_dash(value), span(f"/{limit}", Tone.DIM))


def _ecc(row: DeviceHealthRow, _moment: Moment, _width: int) -> Line:
    """Corrected and uncorrected errors, and rows remapped."""
    bad = bool(row.ecc_uncorrected_count)
    counts = (row.ecc_corrected_count, row.ecc_uncorrected_count, row.rows_remapped_count)
    if all(count is None for count in counts):
        return say(UNKNOWN, Tone.DIM)
    return say("/".join(map(quantity, counts)) + (f" {CROSS}" if bad else ""), Tone.BAD if bad else Tone.PLAIN)


def _links(row: DeviceHealthRow, _moment: Moment, _width: int) -> Line:
    """The bus as it is, marked when it could be wider or faster; NVLinks that are up."""
    pcie = UNKNOWN
    if row.pcie_generation is not None or row.pcie_width is not None:
        pcie = f"gen{quantity(row.pcie_generation)} x{quantity(row.pcie_width)}"
    narrow = row.pcie_width is not None and row.pcie_width_max is not None and row.pcie_width < row.pcie_width_max
    short = None not in (row.nvlinks_active_count, row.nvlinks_count) and row.nvlinks_active_count != row.nvlinks_count
    nvlinks = f"  nv {quantity(row.nvlinks_active_count)}/{quantity(row.nvlinks_count)}" if row.nvlinks_count else ""
    tone = Tone.WARN if narrow or short else Tone.DIM if pcie == UNKNOWN and not nvlinks else Tone.PLAIN
    return say(f"{pcie}{nvlinks}{' !' if narrow or short else ''}", tone)


def _throttle(row: DeviceHealthRow, _moment: Moment, _width: int) -> Line:
    reasons = ", ".join(clean(reason) for reason in row.throttle_reasons)
    return say(f"! {reasons}", Tone.WARN) if reasons else say("none", Tone.DIM)


def _faults(row: DeviceHealthRow, _moment: Moment, _width: int) -> Line:
    found = faults_of([row])
    if not found:
        return say("none", Tone.DIM)
    worst = found[0][1]
    return say(
        f"{CROSS} {', '.join(fault.kind for _, fault in found)}", Tone.BAD if worst.severity == "error" else Tone.WARN
    )


HEALTH_COLUMNS: tuple[Column[DeviceHealthRow], ...] = (
    Column("device", "device", lambda row, *_: say(row.device_id, Tone.STRONG), 8, 0),
    Column("faults", "faults", _faults, 13, 1, grow=20),
    Column("temperature", "temp", _temperature, 7, 2, right=True),
    Column("power", "power", lambda row, *_: _of(watts(row.power_watts), watts(row.power_limit_watts)), 12, 3, right=True),
    Column("throttle", "throttled by", _throttle, 12, 4, grow=20),
    Column("memory", "memory used", lambda row, *_: known_or_dash(memory(row.memory_used_bytes)), 11, 5, right=True),
    Column("clock", "clock", lambda row, *_: _of(hertz(row.compute_clock_hertz), hertz(row.compute_clock_max_hertz)), 16, 6,
           right=True),
    Column("ecc", "ECC", _ecc, 11, 7),
    Column("links", "links", _links, 18, 8, grow=6),
    Column("age", "age", lambda row, moment, _: say(age(row.measured_at, moment.now), Tone.DIM), 6, 9, right=True),
)  # fmt: skip
