"""Answers of history to the wire: tables of typed values. Called by `rpc.operator_service`."""

from datetime import datetime

from controlplane.proto.stoker.v1 import operator_pb2
from controlplane.rpc.timestamps import to_wire
from controlplane.storage.asking.question import Answer, Value


def answer_to_wire(answer: Answer) -> operator_pb2.SqlResponse:
    columns = [
        operator_pb2.SqlColumn(
            name=name, kind=_kind(next((row[at] for row in answer.rows if row[at] is not None), None))
        )
        for at, name in enumerate(answer.columns)
    ]
    return operator_pb2.SqlResponse(
        columns=columns,
        rows=[operator_pb2.SqlRow(values=[_value(value) for value in row]) for row in answer.rows],
        truncated=answer.truncated,
        seconds=answer.seconds,
        dialect=answer.dialect,
    )


def _kind(value: Value) -> "operator_pb2.SqlKind.ValueType":
    # A truth value is a whole number to Python, so it is asked for first.
    kinds: tuple[tuple[type, operator_pb2.SqlKind.ValueType], ...] = (
        (bool, operator_pb2.SQL_KIND_TRUTH),
        (int, operator_pb2.SQL_KIND_WHOLE),
        (float, operator_pb2.SQL_KIND_REAL),
        (datetime, operator_pb2.SQL_KIND_TIME),
        (str, operator_pb2.SQL_KIND_TEXT),
    )
    return next((kind for python, kind in kinds if isinstance(value, python)), operator_pb2.SQL_KIND_UNSPECIFIED)


def _value(value: Value) -> operator_pb2.SqlValue:
    if value is None:
        return operator_pb2.SqlValue()
    if isinstance(value, bool):
        return operator_pb2.SqlValue(truth=value)
    if isinstance(value, int):
        return operator_pb2.SqlValue(whole=value)
    if isinstance(value, float):
        return operator_pb2.SqlValue(real=value)
    if isinstance(value, datetime):
        return operator_pb2.SqlValue(time=to_wire(value))
    return operator_pb2.SqlValue(text=value)
