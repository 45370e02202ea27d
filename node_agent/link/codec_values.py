"""Single values on their way to the wire: whatever does not fit its field becomes unset, never an exception.

Called by the agent's codecs only. The numbers of the enums that all of them use are here, too.
"""

import math
from collections.abc import Iterable
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.proto.stoker.v1 import fleet_pb2
from node_agent.session.values import Severity, Source

SOURCES = {
    Source.MEASURED: fleet_pb2.SOURCE_MEASURED,
    Source.CONFIGURED: fleet_pb2.SOURCE_CONFIGURED,
    Source.TABLE: fleet_pb2.SOURCE_TABLE,
    Source.ASSUMED: fleet_pb2.SOURCE_ASSUMED,
}
SEVERITIES = {
    Severity.INFO: fleet_pb2.SEVERITY_INFO,
    Severity.WARNING: fleet_pb2.SEVERITY_WARNING,
    Severity.ERROR: fleet_pb2.SEVERITY_ERROR,
}

_TEXT_CHARACTERS_MAX = 4096


def text(value: str) -> str:
    """Valid UTF-8 (names from the system may hold lone surrogates) of a bounded length."""
    return value[:_TEXT_CHARACTERS_MAX].encode("utf-8", "replace").decode("utf-8")


def texts(values: Iterable[str]) -> list[str]:
    return [text(value) for value in values]


def whole(value: float | None, *, bits: int = 64) -> int | None:
    """A count that fits an unsigned field, or None."""
    if value is None or not math.isfinite(value) or not 0 <= value < 2**bits:
        return None
    return int(value)


def real(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def timestamp(value: datetime | None) -> Timestamp | None:
    """None, naive and impossible times are all left unset."""
    if value is None or value.tzinfo is None:
        return None
    message = Timestamp()
    try:
        message.FromDatetime(value)
    except (ValueError, OverflowError):
        return None
    return message
