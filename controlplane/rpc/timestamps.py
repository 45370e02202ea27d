"""Times on the wire: aware UTC datetimes to and from protobuf. Unset is None, both ways."""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp


def to_wire(at: datetime | None) -> Timestamp | None:
    """None stays None: protobuf's constructors take it as unset."""
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def from_wire(message: Any, field: str) -> datetime | None:
    """The time in `field` of a message, or None when it is unset or no time that Python can hold."""
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
