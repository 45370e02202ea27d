"""The plug-in's lines as the agent's values, read as if an enemy had written them. Pure; called by `plugin_server`.

Whoever can reach an engine's code can write to its socket, so every length and sign is checked, and what is not as agreed
becomes a PluginLineError with a sentence.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from node_agent.inside.notes import PrefixNote
from node_agent.session.inside import ModelShape, StepTotals
from node_agent.session.records import RequestOutcome, RequestRecord
from node_agent.vllm_plugins import wire

LINE_BYTES_MAX = 256 * 1024
_WHOLE_FIGURES_MAX = 2**63

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Hash = Annotated[int, Meta(ge=0)]  # 64 bits: msgspec reads no larger whole numbers
Amount = Annotated[float, Meta(ge=0)]
Word = Annotated[str, Meta(max_length=512)]
Name = Annotated[str, Meta(max_length=4096)]


class PluginLineError(ValueError):
    """What came is not what a plug-in says."""


class Hello(Struct, frozen=True, tag_field=wire.KIND, tag=wire.HELLO):
    protocol: int
    version: Annotated[str, Meta(max_length=64)]
    source: Annotated[str, Meta(min_length=1, max_length=64, pattern="^[0-9a-f]+$")] = "0"
    problems: Annotated[list[Word], Meta(max_length=16)] = field(default_factory=list)
    shape: Annotated[dict[Word, Amount], Meta(max_length=64)] = field(default_factory=dict)
    model: Name = ""


class Steps(Struct, frozen=True, tag_field=wire.KIND, tag=wire.STEPS):
    steps: Count = 0
    prefill_tokens: Count = 0
    decode_tokens: Count = 0
    running: Count = 0
    waiting: Count = 0
    flops: Amount = 0.0
    read_bytes: Amount = 0.0
    write_bytes: Amount = 0.0
    busy_seconds: Amount = 0.0
    preemptions: Count = 0
    prefill_flops: Amount = 0.0
    prefill_seconds: Amount = 0.0
    dropped: Count = 0
    dropped_notes: Count = 0


class RecordLine(Struct, frozen=True, tag_field=wire.KIND, tag=wire.RECORD):
    n: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    id: Word
    tenant: Word
    model: Name
    started: Amount
    finished: Amount
    outcome: RequestOutcome
    status: Annotated[int, Meta(ge=0, le=999)]
    prompt: Count | None = None
    cached: Count | None = None
    output: Count | None = None
    queue: Amount | None = None
    ttft: Amount | None = None
    itl: Amount | None = None


class NoteLine(Struct, frozen=True, tag_field=wire.KIND, tag=wire.NOTE):
    tenant: Word
    model: Name
    salt: Word
    adapter: Name
    chunks: Annotated[list[tuple[Hash, Hash, Count]], Meta(max_length=4096)]


Line = Hello | Steps | RecordLine | NoteLine

_decoder = msgspec.json.Decoder(Line)
_encoder = msgspec.json.Encoder()


def read_line(line: bytes) -> Line:
    """Raises PluginLineError."""
    try:
        read: Line = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PluginLineError(f"a line cannot be read: {error}") from error
    return read


def welcome() -> bytes:
    return _encode(wire.WELCOME, protocol=wire.PROTOCOL)


def refused(reason: str) -> bytes:
    return _encode(wire.REFUSED, reason=reason)


def kept(sequence: int) -> bytes:
    return _encode(wire.KEPT, n=sequence)


def shape(hello: Hello) -> ModelShape:
    """Figures that this agent does not know are left alone."""
    return ModelShape(
        **{name: _figure(name, hello.shape[name]) for name in ModelShape.__slots__ if name in hello.shape}
    )


def totals(every: list[Steps]) -> StepTotals:
    """Of all servers and ranks of one engine together."""
    return StepTotals(**{name: sum(getattr(steps, name) for steps in every) for name in StepTotals.__slots__})


def record(line: RecordLine, engine_id: str, instance_id: str) -> RequestRecord:
    """Raises PluginLineError when its moments are none."""
    return RequestRecord(
        request_id=line.id,
        engine_id=engine_id,
        instance_id=instance_id,
        model=line.model,
        tenant=line.tenant,
        started_at=_moment(line.started),
        finished_at=_moment(line.finished),
        outcome=line.outcome,
        status_code=line.status,
        prompt_tokens=line.prompt,
        cached_tokens=line.cached,
        output_tokens=line.output,
        queue_seconds=line.queue,
        ttft_seconds=line.ttft,
        inter_token_seconds_mean=line.itl,
    )


def note(line: NoteLine) -> PrefixNote:
    return PrefixNote(line.tenant, line.model, line.salt, line.adapter, tuple(line.chunks))


def _figure(name: str, value: float) -> Any:
    if name == "kv_bytes_per_token":
        return value
    return int(value) if value < _WHOLE_FIGURES_MAX else None


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise PluginLineError(f"{seconds} is no moment in time") from error


def _encode(kind: str, **fields: object) -> bytes:
    return _encoder.encode({wire.KIND: kind, **fields}) + b"\n"
