"""The roofline of an engine as a picture in characters: both roofs, the ridge, and where the engine works now.

The engine screen calls `roofline`. Pure. Both axes are logarithmic; lines are drawn in braille dots, so that a slope reads
as a slope. What is not known is said, never drawn.
"""

import math
from dataclasses import dataclass

from console.model.fleet_view import CeilingRow, EngineRow, FleetView
from console.model.format import flops_per_second, intensity
from console.widgets.spans import Line, Tone, fitted, say, span

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # bits of a braille cell, by row and column
_LEFT_OF_RIDGE = 6.0  # doublings shown before the ridge
_RIGHT_OF_RIDGE = 3.0


@dataclass(frozen=True, slots=True)
class Roof:
    """What one device reaches, by one dtype."""

    flops_per_second: float
    bytes_per_second: float
    source: str

    @property
    def ridge(self) -> float:
        return self.flops_per_second / self.bytes_per_second


def roof_of(engine: EngineRow, view: FleetView) -> Roof | None:
    """The ceilings of the engine's first device for its dtype, else for the first dtype that is known."""
    node = view.nodes.get(engine.node)
    if node is None:
        return None
    mine = [device for device in node.devices if device.device_id in engine.device_ids] or list(node.devices)
    ceilings = sorted(
        (each for device in mine for each in device.ceilings), key=lambda each: each.dtype != engine.dtype
    )
    return next((roof for roof in map(_roof, ceilings) if roof is not None), None)


def _roof(ceiling: CeilingRow) -> Roof | None:
    if not ceiling.flops_per_second or not ceiling.bytes_per_second:
        return None
    return Roof(ceiling.flops_per_second, ceiling.bytes_per_second, ceiling.source)


def roofline(
    roof: Roof | None, at_intensity: float | None, at_flops: float | None, width: int, height: int
) -> list[Line]:
    """`height` lines of `width` cells. The point stands at its intensity and, when that is known, at what it reaches."""
    if roof is None:
        return [
            say("What the device reaches is not known yet.", Tone.DIM),
            say("On the node: stoker-agent probe", Tone.DIM),
        ]
    low, high = -_LEFT_OF_RIDGE, _RIGHT_OF_RIDGE  # doublings from the ridge
    if at_intensity is not None and at_intensity > 0:
        point = math.log2(at_intensity / roof.ridge)
        low, high = min(low, math.floor(point) - 1), max(high, math.ceil(point) + 1)
    rows = height - 1  # the last line names the axis
    bottom, top = low, 0.8  # doublings from the peak
    cells = _drawn_roof(low, high, bottom, top, width, rows)
    ridge_at = round(-low / (high - low) * (width - 1))
    drawn = [[span(chr(0x2800 | bits) if bits else " ", Tone.DIM) for bits in line] for line in cells]
    for row in range(rows):
        if not cells[row][ridge_at]:
            drawn[row][ridge_at] = span("┊", Tone.TRACK)
    if at_intensity is not None and at_intensity > 0:
        reached = (
            math.log2(at_flops / roof.flops_per_second) if at_flops else min(0.0, math.log2(at_intensity / roof.ridge))
        )
        x = round((math.log2(at_intensity / roof.ridge) - low) / (high - low) * (width - 1))
        y = round((top - reached) / (top - bottom) * (rows - 1))
        drawn[min(rows - 1, max(0, y))][min(width - 1, max(0, x))] = span("●", Tone.ACCENT)
    peak = say(f"{flops_per_second(roof.flops_per_second)} ", Tone.DIM)
    lines: list[Line] = [tuple(row) for row in drawn]
    lines[0] = (*peak, *lines[0][len(peak[0][0]) :])
    return [*lines, _axis(roof, ridge_at, width)]


def _drawn_roof(low: float, high: float, bottom: float, top: float, width: int, rows: int) -> list[list[int]]:
    cells = [[0] * width for _ in range(rows)]
    previous: int | None = None
    for dot in range(width * 2):
        doublings = low + dot / (width * 2 - 1) * (high - low)
        roof_at = min(0.0, doublings)
        y = round((top - roof_at) / (top - bottom) * (rows * 4 - 1))
        for each in range(min(y, y if previous is None else previous), max(y, y if previous is None else previous) + 1):
            cells[each // 4][dot // 2] |= _DOTS[each % 4][dot % 2]
        previous = y
    return cells


def _axis(roof: Roof, ridge_at: int, width: int) -> Line:
    name = f"ridge {intensity(roof.ridge)}"
    before = max(0, ridge_at - len(name) // 2)
    after = max(0, width - before - len(name))
    left = fitted(say("memory-bound" if before > len("memory-bound") else "", Tone.DIM), before)
    right = fitted(say("compute-bound" if after > len("compute-bound") else "", Tone.DIM), after, right=True)
    return (*left, span(name, Tone.PLAIN), *right)
