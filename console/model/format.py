"""Numbers and text as people read them on a terminal.

Screens and commands call these for every cell. Pure: never reads a clock (ages are told `now`), never prints. Unknown
is always a dash, never 0. `clean` is the only door for text that came from nodes, tenants, models or logs.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeGuard

UNKNOWN = "\N{EN DASH}"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_ESCAPE_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor, modes
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC (titles, links), DCS, …
    r"|\x1b[ -/]*[0-~]?"  # the rest
)
# Control, format (bidi overrides, zero-width), surrogate, private, unassigned, line and paragraph separator.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SPARKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉"


def clean(text: str, *, length_max: int | None = None) -> str:
    """`text` on one line and harmless: white space becomes a space, what could steer a terminal becomes U+FFFD."""
    if not (text.isascii() and text.isprintable()):
        text = _ESCAPE_SEQUENCES.sub(REPLACEMENT, text)
        text = "".join(map(_safe_character, text))
    if length_max is not None and len(text) > length_max:
        return text[: max(0, length_max - 1)] + "…" if length_max > 0 else ""
    return text


def clean_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Each line cleaned; a line that holds several becomes several."""
    return tuple(clean(part) for line in lines for part in re.split(r"\r\n|\r|\n", line))


def _safe_character(character: str) -> str:
    if character in "\n\t\r\v\f":
        return " "
    return REPLACEMENT if unicodedata.category(character) in _UNSAFE_CATEGORIES else character


def text_or_unknown(text: str) -> str:
    return clean(text) or UNKNOWN


def quantity(value: float | None) -> str:
    """A count in three figures: 7, 999, 1.2k, 12.3k, 123k, 1.2M. Below 100, what is no whole number keeps a decimal."""
    if not _known(value):
        return UNKNOWN
    if abs(value) < 1000 and value == int(value):
        return str(int(value))
    scaled, prefix = _scaled(value, 1000.0, ("", "k", "M", "G", "T", "P", "E"))
    return _three_figures(scaled) + prefix


def tokens(value: float | None) -> str:
    return quantity(value)


def tokens_of(used: float | None, capacity: float | None) -> str:
    """ "12.3k/160k"; one dash when neither is known."""
    return UNKNOWN if used is None and capacity is None else f"{quantity(used)}/{quantity(capacity)}"


def per_second(value: float | None, unit: str = "tok") -> str:
    return UNKNOWN if not _known(value) else f"{quantity(value)} {unit}/s"


def memory(value_bytes: float | None) -> str:
    """Memory, in powers of 1024: "79.6 GiB"."""
    if not _known(value_bytes):
        return UNKNOWN
    scaled, prefix = _scaled(value_bytes, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    return f"{_three_figures(scaled) if prefix != 'B' else round(scaled)} {prefix}"


def flops_per_second(value: float | None) -> str:
    return _with_prefix(value, "FLOP/s")


def flops(value: float | None) -> str:
    return _with_prefix(value, "FLOP")


def watts(value: float | None) -> str:
    return UNKNOWN if not _known(value) else f"{round(value)} W"


def celsius(value: float | None) -> str:
    return UNKNOWN if not _known(value) else f"{round(value)} °C"


def hertz(value: float | None) -> str:
    return _with_prefix(value, "Hz")


def bytes_per_second(value: float | None) -> str:
    return _with_prefix(value, "B/s")


def intensity(value: float | None) -> str:
    """FLOPs per byte: "3.4", "206"."""
    return UNKNOWN if not _known(value) else _three_figures(value)


def intensity_against_ridge(value: float | None, ridge: float | None) -> str:
    return UNKNOWN if value is None and ridge is None else f"{intensity(value)}/{intensity(ridge)}"


def seconds(value: float | None) -> str:
    """A latency: "850 µs", "85 ms", "1.2 s", "2 min"."""
    if not _known(value):
        return UNKNOWN
    if value == 0:
        return "0 s"
    for unit, factor in (("µs", 1e6), ("ms", 1e3)):
        if abs(value) * factor < 999.5:
            return f"{_three_figures(value * factor) if abs(value) * factor < 10 else round(value * factor)} {unit}"
    return f"{_three_figures(value)} s" if abs(value) < 59.95 else duration(value)


def duration(value: float | None) -> str:
    """A span of time in its two largest units: "3 s", "5 min", "2 h 05 min", "3 d 04 h"."""
    if not _known(value):
        return UNKNOWN
    whole = round(max(0.0, value))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60:02d} s" if whole < 600 and whole % 60 else "")
    if whole < 86400:
        return f"{whole // 3600} h" + (f" {whole % 3600 // 60:02d} min" if whole % 3600 >= 60 else "")
    return f"{whole // 86400} d" + (f" {whole % 86400 // 3600:02d} h" if whole % 86400 >= 3600 else "")


def age(at: datetime | None, now: datetime | None) -> str:
    """How long ago `at` was, in its largest unit: "3 s", "4 min", "2 h", "5 d". Never negative."""
    passed = age_seconds(at, now)
    if passed is None:
        return UNKNOWN
    for unit, size, limit in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 86400)):
        if passed < limit:
            return f"{int(passed // size)} {unit}"
    return f"{int(passed // 86400)} d"


def age_seconds(at: datetime | None, now: datetime | None) -> float | None:
    return None if at is None or now is None else max(0.0, (now - at).total_seconds())


def instant(at: datetime | None) -> str:
    """ "2026-01-31 23:59:58Z", always UTC."""
    return UNKNOWN if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def clock_time(at: datetime | None) -> str:
    return UNKNOWN if at is None else f"{at.astimezone(UTC):%H:%M:%S}Z"


def percent(ratio: float | None) -> str:
    """ "42%"; what is above 0 never reads "0%", what is below 1 never "100%"."""
    if not _known(ratio):
        return UNKNOWN
    if 0 < ratio < 0.01:
        return "<1%"
    if 0.995 <= ratio < 1:
        return ">99%"
    if abs(ratio) >= 100:
        return ">9999%" if ratio > 0 else "<-9999%"
    return f"{round(ratio * 100)}%"


def bar(ratio: float | None, width: int) -> str:
    """A bar of exactly `width` cells; dots when the ratio is unknown; clipped to 0 and 1."""
    if width <= 0:
        return ""
    if not _known(ratio):
        return "·" * width
    eighths = round(min(1.0, max(0.0, ratio)) * width * 8)
    if ratio > 0 and eighths == 0:
        eighths = 1  # something is there
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def bar_percent(ratio: float | None, width: int) -> str:
    """A bar and its percentage, always `width` + 5 cells."""
    return f"{bar(ratio, width)} {percent(ratio):>4}"


def sparkline(values: Sequence[float | None], *, maximum: float | None = None) -> str:
    """One block a value, scaled to `maximum` (the largest value when None); a space where nothing is known."""
    known = [value for value in values if _known(value)]
    top = maximum if maximum is not None else max(known, default=0.0)
    return "".join(_spark(value, top) for value in values)


def _spark(value: float | None, top: float) -> str:
    if not _known(value):
        return " "
    share = min(1.0, max(0.0, value / top)) if top > 0 else 0.0
    return _SPARKS[min(len(_SPARKS) - 1, math.ceil(share * len(_SPARKS)) - 1 if share > 0 else 0)]


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _scaled(value: float, step: float, prefixes: Sequence[str]) -> tuple[float, str]:
    for prefix in prefixes[:-1]:
        if abs(value) < step - (0.5 if step == 1000.0 else 0.05):  # 999.6 would be shown as 1000
            return value, prefix
        value /= step
    return value, prefixes[-1]


def _three_figures(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 99.95 else f"{value:.0f}"


def _with_prefix(value: float | None, unit: str) -> str:
    if not _known(value):
        return UNKNOWN
    scaled, prefix = _scaled(value, 1000.0, ("", "k", "M", "G", "T", "P", "E"))
    return f"{_three_figures(scaled)} {prefix}{unit}"
