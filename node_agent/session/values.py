"""What figures and events are marked with all over the agent. Frozen values without any I/O."""

from enum import Enum


class Source(Enum):
    """Where a figure comes from."""

    MEASURED = "measured"
    CONFIGURED = "configured"
    TABLE = "table"
    ASSUMED = "assumed"


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
