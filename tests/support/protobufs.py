"""Arbitrary protobuf messages: any value that the wire can carry, in any combination, for what must survive strangers."""

from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

M = TypeVar("M", bound=Message)

_TEXT = st.text(max_size=8) | st.sampled_from(["\x1b[31mred", "a\nb", "[bold]x[/]", "\u202eevil", "x" * 5000, "\0", ""])
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_STRING: _TEXT,
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1) | st.integers(0, 5),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1) | st.integers(0, 5),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 12),  # numbers beyond the known ones too
}
_SECONDS = st.integers(-(2**63), 2**63 - 1) | st.integers(-62135596800, 253402300799)
_TIMES = st.builds(Timestamp, seconds=_SECONDS, nanos=st.integers(-(2**31), 2**31 - 1) | st.integers(0, 999_999_999))


@st.composite
def messages(draw: st.DrawFn, kind: type[M], list_max: int = 4) -> M:
    """A message of this kind in which every field may be unset, ordinary or absurd."""
    message = kind()
    _fill(draw, message, list_max)
    return message


def _fill(draw: st.DrawFn, message: Message, list_max: int) -> None:
    for field in message.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        if field.message_type is not None:
            _fill_nested(draw, message, field, list_max)
            continue
        values = st.binary(max_size=8) if field.type == FieldDescriptor.TYPE_BYTES else _SCALARS[field.cpp_type]
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values, max_size=list_max)))
        else:
            setattr(message, field.name, draw(values))


def _fill_nested(draw: st.DrawFn, message: Message, field: Any, list_max: int) -> None:
    if field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        getattr(message, field.name).CopyFrom(draw(_TIMES))
    elif field.message_type.GetOptions().map_entry:
        getattr(message, field.name)[draw(_TEXT)] = draw(_TEXT)
    elif field.is_repeated:
        for _ in range(draw(st.integers(0, 2))):
            _fill(draw, getattr(message, field.name).add(), list_max)
    else:
        getattr(message, field.name).SetInParent()
        _fill(draw, getattr(message, field.name), list_max)
