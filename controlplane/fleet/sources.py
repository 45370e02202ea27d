"""Where a figure comes from, so that nobody takes a guess for a measurement. Read by everything that shows one."""

from enum import Enum


class Source(Enum):
    """Best first."""

    MEASURED = "measured"
    CONFIGURED = "configured"
    TABLE = "table"
    ASSUMED = "assumed"
