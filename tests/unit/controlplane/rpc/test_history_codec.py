"""Answers on the wire: unknown stays unset, and a column's kind is that of its first known value."""

from datetime import UTC, datetime

from controlplane.proto.stoker.v1 import operator_pb2 as pb
from controlplane.rpc.history_codec import answer_to_wire
from controlplane.storage.asking.question import Answer

AT = datetime(2026, 11, 22, 14, tzinfo=UTC)


def test_values_keep_their_type_and_unknown_is_unset() -> None:
    rows = ((None, "a", 0, 0.0, AT, False), (None, None, -(2**63), None, None, None))
    message = answer_to_wire(Answer(tuple("nopqrs"), rows, truncated=True, seconds=0.5, dialect="sqlite"))
    assert [column.kind for column in message.columns] == [
        pb.SQL_KIND_UNSPECIFIED,
        pb.SQL_KIND_TEXT,
        pb.SQL_KIND_WHOLE,
        pb.SQL_KIND_REAL,
        pb.SQL_KIND_TIME,
        pb.SQL_KIND_TRUTH,
    ]
    kinds = [[value.WhichOneof("value") for value in row.values] for row in message.rows]
    assert kinds == [[None, "text", "whole", "real", "time", "truth"], [None, None, "whole", None, None, None]]
    assert message.rows[1].values[2].whole == -(2**63)
    assert message.rows[0].values[4].time.ToDatetime(tzinfo=UTC) == AT
    assert (message.truncated, message.seconds, message.dialect) == (True, 0.5, "sqlite")
