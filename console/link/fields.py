"""Single fields of the wire's messages: unset and unreadable become None. Called by the codecs of this package."""

from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.proto.stoker.v1 import fleet_pb2

SOURCES = {
    fleet_pb2.SOURCE_MEASURED: "measured",
    fleet_pb2.SOURCE_CONFIGURED: "configured",
    fleet_pb2.SOURCE_TABLE: "table",
    fleet_pb2.SOURCE_ASSUMED: "assumed",
}


def moment(message: Message, field: str) -> datetime | None:
    """The field's moment, aware and UTC; None when it is not set or is no date at all."""
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def whole(message: Message, field: str) -> int | None:
    return int(getattr(message, field)) if message.HasField(field) else None


def real(message: Message, field: str) -> float | None:
    return float(getattr(message, field)) if message.HasField(field) else None
