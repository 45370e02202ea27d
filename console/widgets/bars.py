"""Bars and gauges in one line of text: shares, the place on the roofline, a spread of latencies.

Cell builders and panels call these. Every picture reads without colour: full and empty differ in shape, the ridge is a
mark. Unknown is dots, never an empty bar. Pure.
"""

import math

from console.model.format import UNKNOWN, percent
from console.widgets.spans import Line, Tone, span

KV_WARN_RATIO = 0.85  # above this an engine begins to queue
KV_BAD_RATIO = 0.95  # above this it preempts


def load_tone(ratio: float | None) -> Tone:
    """How worrying a used share of the KV cache is."""
    if ratio is None:
        return Tone.DIM
    return Tone.BAD if ratio >= KV_BAD_RATIO else Tone.WARN if ratio >= KV_WARN_RATIO else Tone.ACCENT


def bar(ratio: float | None, width: int) -> Line:
    """A share of one as a line: thick for used, thin for free."""
    if ratio is None or not math.isfinite(ratio):
        return (span("·" * width, Tone.TRACK),)
    halves = round(min(1.0, max(0.0, ratio)) * width * 2)
    halves = max(1, halves) if ratio > 0 else 0  # something is there
    full, half = divmod(halves, 2)
    used = "━" * full + "╸" * half
    return span(used, load_tone(ratio)), span("─" * (width - len(used)), Tone.TRACK)


def bar_with_percent(ratio: float | None, width: int) -> Line:
    """A bar and its percentage in exactly `width` cells; worrying shares say so with a mark too."""
    tone = load_tone(ratio)
    tone = Tone.PLAIN if tone is Tone.ACCENT else tone
    return *bar(ratio, max(1, width - 5)), span(f"{percent(ratio):>5}", tone)


def ridge_gauge(intensity: float | None, ridge: float | None, width: int) -> Line:
    """Where a point lies beside the ridge ┊, a factor of two per cell: left of it memory-bound, right compute-bound."""
    if intensity is None or ridge is None or intensity <= 0 or ridge <= 0:
        return (span("·" * width, Tone.TRACK),)
    ridge_at = width - 2
    doublings = math.log2(intensity / ridge)
    at = min(width - 1, max(0, ridge_at + (math.floor(doublings) if doublings < 0 else math.ceil(doublings))))
    cells = ["─"] * width
    cells[ridge_at] = "┊"
    before, after = "".join(cells[:at]), "".join(cells[at + 1 :])
    tone = Tone.ACCENT if intensity < ridge else Tone.WARN
    return span(before, Tone.TRACK), span("●", tone), span(after, Tone.TRACK)


def spread(low: float | None, high: float | None, width: int, *, floor: float, ceiling: float) -> Line:
    """From the median ● to the 95th percentile ┤ on a logarithmic scale from `floor` to `ceiling` seconds."""
    if low is None:
        return (span("·" * width, Tone.TRACK),)
    start = _log_cell(low, width, floor, ceiling)
    end = start if high is None else max(start, _log_cell(high, width, floor, ceiling))
    if end == start:
        return span("─" * start, Tone.TRACK), span("●", Tone.ACCENT), span("─" * (width - start - 1), Tone.TRACK)
    return (
        span("─" * start, Tone.TRACK),
        span("●" + "━" * (end - start - 1) + "┫", Tone.ACCENT),
        span("─" * (width - end - 1), Tone.TRACK),
    )


def _log_cell(value: float, width: int, floor: float, ceiling: float) -> int:
    share = math.log(max(value, floor) / floor) / math.log(ceiling / floor)
    return min(width - 1, max(0, round(share * (width - 1))))


def known_or_dash(text: str) -> Line:
    """A figure, dim when it is unknown."""
    return (span(text, Tone.DIM if text == UNKNOWN else Tone.PLAIN),)
