"""Records as compact bytes, for the spool's file only: the wire has its own form. Pure.

Requests are written as a list of their fields in order, so new fields of `RequestRecord` go to its end, with a default:
then a file survives an upgrade and a downgrade of the agent. Samples carry names and are compressed; there are few.
"""

import zlib
from dataclasses import MISSING, fields, replace
from typing import Any, get_type_hints

import msgspec

from node_agent.session.records import EngineSample, RequestRecord

REQUEST = 1
SAMPLE = 2
_PAYLOAD_BYTES_MAX = 256 * 1024  # of one record: more is somebody's mistake

_HINTS = get_type_hints(RequestRecord)
_NAMES = tuple(field.name for field in fields(RequestRecord))
_Stored = msgspec.defstruct(
    "_Stored",
    [
        (field.name, _HINTS[field.name])
        if field.default is MISSING
        else (field.name, _HINTS[field.name], field.default)
        for field in fields(RequestRecord)
    ],
    array_like=True,
    frozen=True,
)
_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(_Stored)
_samples = msgspec.msgpack.Decoder(EngineSample)


class UnreadableRecordError(Exception):
    """It cannot be written, or what was read is no record."""


def encode(body: RequestRecord | EngineSample) -> tuple[int, bytes]:
    """The kind and the bytes. Raises UnreadableRecordError for what no text or number of ours can hold."""
    try:
        if isinstance(body, RequestRecord):
            kind, payload = REQUEST, _encoder.encode(_Stored(*(getattr(body, name) for name in _NAMES)))
        else:
            kind, payload = SAMPLE, zlib.compress(_encoder.encode(_told(body)), 1)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableRecordError(str(error)) from None
    if len(payload) > _PAYLOAD_BYTES_MAX:
        raise UnreadableRecordError(f"a record of {len(payload)} bytes is too large")
    return kind, payload


def decode(kind: int, payload: bytes) -> tuple[RequestRecord | EngineSample, int]:
    """The record, and about how many bytes it takes on the wire. Raises UnreadableRecordError."""
    try:
        if kind == REQUEST:
            stored = _requests.decode(payload)
            return RequestRecord(*(getattr(stored, name) for name in _NAMES)), len(payload)
        if kind == SAMPLE:
            plain = zlib.decompress(payload)
            return _samples.decode(plain), len(plain)
    except (msgspec.MsgspecError, zlib.error, ValueError) as error:
        raise UnreadableRecordError(str(error)) from None
    raise UnreadableRecordError(f"no record is of kind {kind}")


def _told(sample: EngineSample) -> EngineSample:
    """Without what only the present needs: text and the model's shape would be most of the bytes."""
    slim = replace(sample.status, log_tail=(), served_paths=(), shape=None, adapters=())
    return replace(sample, status=slim)
