"""What vendors promise of their devices: the fallback where nobody measured. Pure.

Called by `roofline`. Dense figures, and only for devices whose name says exactly which one they are: boards of one
family differ by a third, so a name that is not in the table gives no figure.
"""

import re
from dataclasses import dataclass

from node_agent.session.facts import Ceiling
from node_agent.session.values import Source


@dataclass(frozen=True, slots=True)
class _Sheet:
    name: re.Pattern[str]
    bf16_tflops: float
    fp8_tflops: float | None
    terabytes_per_second: float


_SHEETS = (
    _Sheet(re.compile(r"H100 (80GB HBM3|SXM)"), 989, 1979, 3.35),
    _Sheet(re.compile(r"\bH200$"), 989, 1979, 4.8),
    _Sheet(re.compile(r"A100-SXM4-80GB"), 312, None, 2.04),
    _Sheet(re.compile(r"\bB200$"), 2250, 4500, 8.0),
    _Sheet(re.compile(r"\bMI300X\b"), 1307, 2615, 5.3),
    _Sheet(re.compile(r"\bL40S$"), 362, 733, 0.864),
    _Sheet(re.compile(r"\bL4$"), 121, 242, 0.3),
    _Sheet(re.compile(r"\bA10G$"), 70, None, 0.6),
)


def datasheet_ceilings(kind: str) -> tuple[Ceiling, ...]:
    """Empty when the device is not in the table."""
    for sheet in _SHEETS:
        if sheet.name.search(kind):
            # All of these do both 16-bit types at the same speed.
            figures = {
                "bfloat16": sheet.bf16_tflops,
                "float16": sheet.bf16_tflops,
                "float8_e4m3": sheet.fp8_tflops,
            }
            return tuple(
                Ceiling(dtype, tflops * 1e12, sheet.terabytes_per_second * 1e12, Source.TABLE)
                for dtype, tflops in figures.items()
                if tflops is not None
            )
    return ()
