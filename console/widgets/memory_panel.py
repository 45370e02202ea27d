"""Where the memory of an engine's devices is, as a bar with its legend, and what could still become KV cache. Pure."""

from console.model.format import UNKNOWN, age, memory, quantity, text_or_unknown
from console.model.hardware import MemoryLedgerRow, MemorySums, headroom_of, memory_sums
from console.model.overview import Moment
from console.widgets.bars import known_or_dash
from console.widgets.spans import Line, Tone, say, span

# Each part differs in shape, so that the bar reads without colour: the sign, the word, the tone.
_LOOKS = {
    "weights": ("█", "weights", Tone.PLAIN),
    "kv_cache": ("▓", "KV", Tone.ACCENT),
    "activations": ("▒", "activations", Tone.PLAIN),
    "other": ("░", "other", Tone.WARN),
    "free": ("─", "free", Tone.TRACK),
}


def memory_lines(ledgers: tuple[MemoryLedgerRow, ...], engine_id: str, moment: Moment, width: int) -> list[Line]:
    if not ledgers:
        return [say("Its node does not tell where its memory is.", Tone.DIM)]
    sums = memory_sums(ledgers, engine_id)
    found = headroom_of(ledgers, engine_id)
    room = found[0] if found else None
    tokens, requests = (room.tokens, room.requests_count) if room else (None, None)
    devices = f"{sums.devices} devices, " if sums.devices > 1 else ""
    headroom: Line = (
        span("headroom ", Tone.DIM),
        *known_or_dash(quantity(tokens)),
        span(" tokens  ", Tone.DIM),
        *known_or_dash(quantity(requests)),
        span(f" requests  {text_or_unknown(room.source) if room else UNKNOWN}", Tone.DIM),
    )
    in_all = say(f"{devices}{memory(sums.total_bytes)} in all, {age(sums.measured_at, moment.now)} old", Tone.DIM)
    # Between bar and legend stands a line of words: their blocks would run into each other.
    return [memory_bar(sums, width), headroom, *_legend(sums, width), in_all]


def memory_bar(sums: MemorySums, width: int) -> Line:
    """In exactly `width` cells; dots for what nobody accounts for. Nothing that is there is drawn as nothing."""
    total = sums.total_bytes
    if not total:
        return (span("·" * width, Tone.TRACK),)
    spans = []
    drawn = 0
    so_far = 0
    for use, size in sums.bytes_by_use.items():
        sign, _, tone = _LOOKS[use]
        so_far += size
        end = min(width, max(round(so_far / total * width), drawn + (size > 0)))
        spans.append(span(sign * (end - drawn), tone))
        drawn = end
    return (*spans, span("·" * (width - drawn), Tone.TRACK))


def _legend(sums: MemorySums, width: int) -> list[Line]:
    """As many parts in a line as fit."""
    lines: list[Line] = []
    line: Line = ()
    room = width
    for use, (sign, word, tone) in _LOOKS.items():
        text = f" {word} {memory(sums.bytes_by_use.get(use))}   "
        if line and len(text) + 1 > room:
            lines.append(line)
            line, room = (), width
        line = (*line, span(sign, tone), span(text, Tone.DIM))
        room -= len(text) + 1
    return [*lines, line]
